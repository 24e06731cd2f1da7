/** A VM that breaks off: the client learns of it within a second and can tell the answer is not whole. */

import type { ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { h2Call } from '../helpers/h2-client.ts'
import { originFor } from '../helpers/origin.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'
/** The issue says one second; the rest is for a machine that is busy. */
const DEADLINE_MS = 2_000

type Break = (response: ServerResponse) => void

/** What the VM has sent of its answer when it breaks off. */
const ANSWERS: readonly { readonly name: string; readonly begin: Break }[] = [
  {
    name: 'of known length',
    begin: (response) => response.writeHead(200, { 'content-length': 1_000 }).write('half'),
  },
  { name: 'in chunks', begin: (response) => response.writeHead(200).write('half') },
  {
    name: 'of events',
    begin: (response) =>
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: half\n\n'),
  },
]

const WAYS: readonly { readonly name: string; readonly cut: Break }[] = [
  { name: 'closes', cut: (response) => response.socket?.destroy() },
  { name: 'resets', cut: (response) => response.socket?.resetAndDestroy() },
]

for (const { name: way, cut } of WAYS) {
  for (const { name, begin } of ANSWERS) {
    t.test(`a VM that ${way} in the middle of an answer ${name} cuts the HTTP/1.1 client's`, async (t) => {
      const edge = await edgeFor(t)
      const { answered } = await routeTo(t, edge)
      const socket = await edge.dial(HOST)
      const heard = transcriptOf(socket)
      socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
      begin(await answered)
      await heard.has('half')
      cut(await answered)
      await heard.ends(DEADLINE_MS)
      t.notMatch(heard.text, /0\r\n\r\n$/, 'no end that would make it look whole')
      await checkLog(t, edge, 'upstream_incomplete')
    })

    t.test(`a VM that ${way} in the middle of an answer ${name} resets the HTTP/2 stream`, async (t) => {
      const edge = await edgeFor(t)
      const { answered } = await routeTo(t, edge)
      const session = await edge.h2(HOST)
      const call = h2Call(session, { ':path': '/' })
      let isClosed = false
      call.stream.on('close', () => {
        isClosed = true
      })
      begin(await answered)
      await until(() => call.answer.body.includes('half'), 'the first half')
      cut(await answered)
      await until(() => isClosed, 'the end of the stream', DEADLINE_MS)
      t.not(call.answer.resetCode, 0, 'not NO_ERROR')
      t.notOk(session.destroyed, 'other streams of the session go on')
      await checkLog(t, edge, 'upstream_incomplete')
    })
  }

  t.test(
    `a VM that ${way} before it answers gives the client a 502 of its own, over both versions`,
    async (t) => {
      const edge = await edgeFor(t)
      const origin = await originFor(t, (request, response) => {
        request.resume()
        cut(response)
      })
      await edge.route(HOST, origin.port)
      const socket = await edge.dial(HOST)
      const heard = transcriptOf(socket)
      const requestedAt = performance.now()
      socket.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 4\r\n\r\nbody`)
      await heard.has('"upstream_reset"')
      t.match(heard.text, /^HTTP\/1\.1 502 /)
      t.match(
        heard.text,
        /\r\nproxy-status: landfall; error=connection_terminated; details="upstream_reset"\r\n/,
      )
      const headers = { ':method': 'POST', ':path': '/' }
      const call = h2Call(await edge.h2(HOST), headers, { hasBody: true })
      call.stream.end('body')
      t.match(await call.closed, { status: 502, body: /"upstream_reset"/, resetCode: 0 })
      t.ok(performance.now() - requestedAt < 2 * DEADLINE_MS)
    },
  )

  t.test(`a VM that ${way} in the middle of an upload ends it, over both versions`, async (t) => {
    const edge = await edgeFor(t)
    const origin = await originFor(t, (request, response) => {
      request.once('data', () => cut(response))
      request.on('error', () => {})
    })
    await edge.route(HOST, origin.port)
    const socket = await edge.dial(HOST)
    const heard = transcriptOf(socket)
    socket.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 1000000\r\n\r\nthe first bytes`)
    await until(() => heard.text.includes('upstream_reset'), 'the 502', DEADLINE_MS)
    t.match(heard.text, /^HTTP\/1\.1 502 /)
    await heard.ends(3_000)
    const headers = { ':method': 'POST', ':path': '/' }
    const call = h2Call(await edge.h2(HOST), headers, { hasBody: true })
    call.stream.write('the first bytes')
    await until(() => call.answer.body.includes('upstream_reset'), 'the 502', DEADLINE_MS)
    t.equal(call.answer.status, 502)
  })
}

t.test('an early answer to an upload reaches the client though the VM closes behind it', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, (request, response) => {
    request.once('data', () => {
      response.writeHead(413, { connection: 'close', 'content-length': 7 }).end('too big')
    })
  })
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 100000000\r\n\r\n`)
  const sending = setInterval(() => socket.writable && socket.write(Buffer.alloc(65_536)), 2)
  t.teardown(() => clearInterval(sending))
  await heard.has('too big')
  t.match(heard.text, /^HTTP\/1\.1 413 /)
  clearInterval(sending)
})

/** A VM whose answer the test writes. */
async function routeTo(t: Test, edge: TestEdge): Promise<{ readonly answered: Promise<ServerResponse> }> {
  const { promise: answered, resolve } = Promise.withResolvers<ServerResponse>()
  const origin = await originFor(t, (_request, response) => resolve(response))
  await edge.route(HOST, origin.port)
  return { answered }
}

async function checkLog(t: Test, edge: TestEdge, code: string): Promise<void> {
  await until(() => edge.accessLog.length === 1, 'its line in the access log')
  t.match(edge.accessLog, [{ close_reason: code, error_code: code }])
}
