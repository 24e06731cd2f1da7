/** Each time limit of the relay has its own error: a VM that does not accept, does not answer, falls silent, or refuses. */

import t, { type Test } from 'tap'
import { fullPortFor } from '../helpers/connect-faults.ts'
import { edgeFor } from '../helpers/edge.ts'
import { findFreePort } from '../helpers/free-port.ts'
import { h2Call } from '../helpers/h2-client.ts'
import { originFor, rawOriginFor } from '../helpers/origin.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'
const GET = `GET / HTTP/1.1\r\nHost: ${HOST}\r\nAccept: application/json\r\n\r\n`

interface Case {
  readonly name: string
  readonly portFor: (t: Test) => Promise<number>
  readonly env?: Record<string, string>
  readonly status: number
  readonly code: string
  /** RFC 9209. */
  readonly proxyStatus: string
  /** How long the edge has to wait before it may give up. */
  readonly atLeastMs?: number
}

const CASES: readonly Case[] = [
  {
    name: 'a VM that does not accept the connection',
    portFor: fullPortFor,
    env: { LANDFALL_CONNECT_TIMEOUT_MS: '400' },
    status: 504,
    code: 'connect_timeout',
    proxyStatus: 'connection_timeout',
    atLeastMs: 400,
  },
  {
    name: 'a VM that accepts and does not answer',
    portFor: async (t) => (await rawOriginFor(t, () => {})).port,
    env: { LANDFALL_FIRST_BYTE_TIMEOUT_MS: '400' },
    status: 504,
    code: 'upstream_timeout',
    proxyStatus: 'http_response_timeout',
    atLeastMs: 400,
  },
  {
    name: 'a VM that refuses the connection',
    portFor: findFreePort,
    status: 502,
    code: 'connect_refused',
    proxyStatus: 'connection_refused',
  },
  {
    name: 'a VM that closes without an answer',
    portFor: async (t) => (await rawOriginFor(t, (socket) => void socket.end())).port,
    status: 502,
    code: 'upstream_reset',
    proxyStatus: 'connection_terminated',
  },
  {
    name: 'a VM that speaks another protocol',
    portFor: async (t) =>
      (await rawOriginFor(t, (socket) => void socket.write('SSH-2.0-OpenSSH_9\r\n'))).port,
    status: 502,
    code: 'upstream_invalid',
    proxyStatus: 'http_protocol_error',
  },
]

for (const { name, portFor, env = {}, status, code, proxyStatus, atLeastMs = 0 } of CASES) {
  t.test(`${name} gives ${status} ${code} over both versions`, async (t) => {
    const edge = await edgeFor(t, env)
    await edge.route(HOST, await portFor(t))
    const sentAt = performance.now()
    const answer = await exchange(await edge.dial(HOST), GET, isWhole)
    const tookMs = performance.now() - sentAt
    t.ok(tookMs >= atLeastMs && tookMs < atLeastMs + 4_000, `after ${Math.round(tookMs)} ms`)
    t.equal(answer.status, status)
    t.equal(answer.headers['proxy-status'], `landfall; error=${proxyStatus}; details="${code}"`)
    t.match(JSON.parse(answer.body), { code, status })
    const overH2 = await h2Call(await edge.h2(HOST), { ':path': '/' }).closed
    t.match(overH2, { status, headers: { 'proxy-status': new RegExp(`details="${code}"`) }, resetCode: 0 })
    t.match(edge.accessLog, [
      { status, error_code: code },
      { status, error_code: code },
    ])
  })
}

t.test('a VM that falls silent in the middle of its answer is cut off after the idle limit', async (t) => {
  const edge = await edgeFor(t, { LANDFALL_IDLE_TIMEOUT_MS: '400' })
  const origin = await rawOriginFor(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst words')
  })
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(GET)
  await heard.ends(3_000)
  t.match(heard.text, /^HTTP\/1\.1 200 .*first words$/s)
  const call = h2Call(await edge.h2(HOST), { ':path': '/' })
  t.match(await call.closed, { status: 200, body: 'first words' })
  t.not(call.answer.resetCode, 0)
  await until(() => edge.accessLog.length === 2, 'two lines in the access log')
  t.match(edge.accessLog, [{ error_code: 'upstream_idle' }, { error_code: 'upstream_idle' }])
  t.match(origin.sockets, [{ readableEnded: true }, { readableEnded: true }], 'the VM is told')
})

/** Whoever says something again and again takes longer than each limit, and no step comes near one. */
const SLOW = { LANDFALL_FIRST_BYTE_TIMEOUT_MS: '2000', LANDFALL_IDLE_TIMEOUT_MS: '2000' }
const STEPS = 12
const STEP_MS = 200

t.test('a VM that says something from time to time is not cut off', async (t) => {
  const edge = await edgeFor(t, SLOW)
  const origin = await originFor(t, (_request, response) => {
    let ticks = 0
    const timer = setInterval(() => {
      ticks += 1
      response.write(`tick ${ticks}\n`)
      if (ticks < STEPS) return
      clearInterval(timer)
      response.end('over')
    }, STEP_MS)
  })
  await edge.route(HOST, origin.port)
  const answer = await exchange(await edge.dial(HOST), GET, (text) => text.endsWith('\r\n0\r\n\r\n'))
  t.equal(answer.status, 200)
  t.match(answer.body, /over/)
})

t.test('a slow upload is not taken for a slow VM', async (t) => {
  const edge = await edgeFor(t, SLOW)
  const origin = await originFor(t, (request, response) => {
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    request.on('end', () => response.end(`got ${bytes}`))
  })
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${STEPS}\r\n\r\n`)
  let sent = 0
  const sending = setInterval(() => {
    sent += 1
    socket.write('x')
    if (sent === STEPS) clearInterval(sending)
  }, STEP_MS)
  t.teardown(() => clearInterval(sending))
  await heard.has(`got ${STEPS}`)
  t.match(heard.text, /^HTTP\/1\.1 200 /)
})

t.test('a client that stalls in its upload gets 408, not 504', async (t) => {
  const edge = await edgeFor(t, { LANDFALL_BODY_IDLE_TIMEOUT_MS: '400' })
  const origin = await originFor(t, (request) => void request.resume())
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 10\r\n\r\nhalf`)
  await heard.has('"limit_slow_body"')
  t.match(heard.text, /^HTTP\/1\.1 408 /)
  await heard.ends(3_000)
  const call = h2Call(await edge.h2(HOST), { ':method': 'POST', ':path': '/' }, { hasBody: true })
  call.stream.write('half')
  await until(() => call.answer.body.includes('"limit_slow_body"'), 'the answer over HTTP/2')
  t.equal(call.answer.status, 408)
})
