/**
 * Slowloris: the attacker opens many connections and sends each request a byte at a time, or stops in the middle, or
 * asks nothing at all. A naive server waits for ever and runs out of sockets and memory. Each wait has a limit: 408
 * where a request has begun, a quiet close where none has; a client that is only slow in a healthy way is left alone.
 */

import type { Socket } from 'node:net'
import t from 'tap'
import { APP, attackedEdgeFor, codeOf, isOver, serves } from '../helpers/attacked-edge.ts'
import { h2Call } from '../helpers/h2-client.ts'
import { encodeFields, FRAME, H2Wire, requestFields } from '../helpers/h2-wire.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { tlsFor } from '../helpers/tls-dial.ts'
import { until } from '../helpers/until.ts'

const HEADERS = { LANDFALL_HEADERS_TIMEOUT_MS: '1000' }
const BODY_300 = { LANDFALL_BODY_IDLE_TIMEOUT_MS: '300' }
const IDLE_200 = { LANDFALL_KEEP_ALIVE_TIMEOUT_MS: '200' }
const PARTIAL = `GET /evil HTTP/1.1\r\nHost: ${APP}\r\nX-A: `
const POST = `POST /slow HTTP/1.1\r\nHost: ${APP}\r\n`

/** Sends a byte every 30 ms until the connection is over. */
function trickle(socket: Socket): void {
  const timer = setInterval(() => {
    if (socket.destroyed || !socket.writable) clearInterval(timer)
    else socket.write('a')
  }, 30)
  socket.once('close', () => clearInterval(timer))
}

t.test('answers 408 to a header that stops in the middle', async (t) => {
  const edge = await attackedEdgeFor(t, HEADERS)
  for (const socket of [await edge.dialPlain(), await edge.dial(APP)]) {
    const answer = await exchange(socket, PARTIAL, isWhole)
    t.match({ status: answer.status, code: codeOf(answer) }, { status: 408, code: 'limit_slow_headers' })
    t.ok(await isOver(socket), 'the connection is closed')
  }
  t.same(edge.requestLines(), [])
  await serves(t, edge)
})

t.test('answers 408 to a header that comes byte by byte: what counts is the whole', async (t) => {
  const edge = await attackedEdgeFor(t, HEADERS)
  const socket = await edge.dialPlain()
  trickle(socket)
  const answer = await exchange(socket, PARTIAL, isWhole)
  t.match({ status: answer.status, code: codeOf(answer) }, { status: 408, code: 'limit_slow_headers' })
})

t.test('answers 408 to the second request of a connection as well', async (t) => {
  const edge = await attackedEdgeFor(t, HEADERS)
  const socket = await edge.dialPlain()
  t.equal((await exchange(socket, `GET /good HTTP/1.1\r\nHost: ${APP}\r\n\r\n`, isWhole)).status, 200)
  trickle(socket)
  t.equal((await exchange(socket, PARTIAL, isWhole)).status, 408)
})

t.test('closes a connection on which nothing was ever asked', async (t) => {
  const edge = await attackedEdgeFor(t, { ...HEADERS, ...IDLE_200 })
  t.ok(await isOver(await edge.dialPlain()), 'plain')
  t.ok(await isOver(await edge.dial(APP)), 'TLS, HTTP/1.1')
  t.ok(await isOver(await tlsFor(t, edge, { servername: APP, ALPNProtocols: ['h2'] })), 'TLS, h2, no preface')
})

t.test('closes an idle keep-alive connection without a word', async (t) => {
  const edge = await attackedEdgeFor(t, IDLE_200)
  const socket = await edge.dialPlain()
  let later = ''
  await exchange(socket, `GET /good HTTP/1.1\r\nHost: ${APP}\r\n\r\n`, isWhole)
  socket.on('data', (chunk) => {
    later += chunk
  })
  t.ok(await isOver(socket))
  t.equal(later, '')
})

t.test('keeps an idle connection for as long as the setting says', async (t) => {
  const edge = await attackedEdgeFor(t, { LANDFALL_KEEP_ALIVE_TIMEOUT_MS: '60000', ...HEADERS })
  const socket = await edge.dialPlain()
  const request = `GET /good HTTP/1.1\r\nHost: ${APP}\r\n\r\n`
  await exchange(socket, request, isWhole)
  t.notOk(await isOver(socket, 2_200), 'it outlives the limit for headers')
  t.equal((await exchange(socket, request, isWhole)).status, 200)
})

t.test('closes an idle HTTP/2 session with GOAWAY, but not while a stream is open', async (t) => {
  const edge = await attackedEdgeFor(t, { LANDFALL_KEEP_ALIVE_TIMEOUT_MS: '1000' })
  const silent = await rawOriginFor(t, () => {})
  await edge.route('silent.localhost', silent.port)
  const idle = await new H2Wire(await edge.dial(APP, { alpn: ['h2'] })).start()
  await until(() => idle.isOver, 'the end of the idle session')
  t.equal(idle.goAwayCode(), 0, 'GOAWAY says that nothing is wrong')
  const session = await edge.h2('silent.localhost')
  const call = h2Call(session, { ':path': '/' })
  await until(() => silent.sockets.length > 0, 'the request at the VM')
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  t.notOk(session.closed || session.destroyed, 'the session waits for its stream')
  silent.sockets[0]?.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  t.match(await call.closed, { status: 200, body: 'ok' })
})

t.test('closes an HTTP/2 session whose header block never ends', async (t) => {
  const edge = await attackedEdgeFor(t, IDLE_200)
  const wire = await new H2Wire(await edge.dial(APP, { alpn: ['h2'] })).start()
  wire.send(FRAME.headers, 0, 1, encodeFields(requestFields(APP, '/evil')))
  await until(() => wire.isOver, 'the end of the session', 4_000)
  t.same(edge.requestLines(), [])
})

const BODIES: readonly (readonly [string, string])[] = [
  ['Content-Length, one byte', `${POST}Content-Length: 10\r\n\r\na`],
  ['Content-Length, no byte', `${POST}Content-Length: 10\r\n\r\n`],
  ['chunked, in a size', `${POST}Transfer-Encoding: chunked\r\n\r\n1`],
  ['chunked, in a chunk', `${POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhe`],
  ['chunked, before the last chunk', `${POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`],
  ['chunked, in the trailers', `${POST}Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b`],
]

t.test('answers 408 to a body that stops in the middle, and lets go of the VM', async (t) => {
  const edge = await attackedEdgeFor(t, BODY_300)
  const patient = await rawOriginFor(t, () => {})
  await edge.route(APP, patient.port)
  const attack = async ([what, bytes]: readonly [string, string]) => {
    const socket = await edge.dialPlain()
    const answer = await exchange(socket, bytes, isWhole)
    t.match({ status: answer.status, code: codeOf(answer) }, { status: 408, code: 'limit_slow_body' }, what)
    t.ok(await isOver(socket), `${what}: the connection is closed`)
  }
  await Promise.all(BODIES.map(attack))
  await until(() => patient.sockets.every((one) => one.readableEnded || one.destroyed), 'the VM is let go')
})

t.test('answers 408 to a body over HTTP/2 that stops in the middle', async (t) => {
  const edge = await attackedEdgeFor(t, BODY_300)
  const patient = await rawOriginFor(t, () => {})
  await edge.route(APP, patient.port)
  const call = h2Call(await edge.h2(APP), { ':path': '/', ':method': 'POST' }, { hasBody: true })
  call.stream.write('a')
  await until(() => call.answer.status !== 0, 'an answer')
  t.equal(call.answer.status, 408)
})

t.test('does not blame a client whose body waits for a VM that does not read', async (t) => {
  const edge = await attackedEdgeFor(t, {
    LANDFALL_BODY_IDLE_TIMEOUT_MS: '1500',
    LANDFALL_FIRST_BYTE_TIMEOUT_MS: '4000',
  })
  const deaf = await rawOriginFor(t, (socket) => socket.pause())
  await edge.route(APP, deaf.port)
  const size = 64_000_000
  const answer = await exchange(
    await edge.dialPlain(),
    `${POST}Content-Length: ${size}\r\n\r\n${'x'.repeat(size)}`,
    isWhole,
  )
  t.match({ status: answer.status, code: codeOf(answer) }, { status: 504, code: 'upstream_timeout' })
})

t.test('ends a body that stops although the VM has begun to answer', async (t) => {
  const edge = await attackedEdgeFor(t, { ...BODY_300, LANDFALL_IDLE_TIMEOUT_MS: '400' })
  const eager = await rawOriginFor(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n')
  })
  await edge.route(APP, eager.port)
  const socket = await edge.dialPlain()
  socket.write(`${POST}Content-Length: 10\r\n\r\na`)
  t.ok(await isOver(socket), 'the connection is closed')
  await until(() => eager.sockets.every((one) => one.readableEnded || one.destroyed), 'the VM is let go')
})
