/** Requests to a VM that is asleep: an edge and a store as they are, and a host that says what a real one would. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { type FakeHost, fakeHostFor, gaugeOf } from '../helpers/fake-host.ts'
import { h2Call, h2Exchange } from '../helpers/h2-client.ts'
import { putTestVm } from '../helpers/host.ts'
import { originFor } from '../helpers/origin.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { until } from '../helpers/until.ts'
import { wsOriginFor } from '../helpers/ws-origin.ts'

const HOST = 'amber.localhost'
const GET = `GET /now HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`

const held = (edge: TestEdge) => gaugeOf(edge, 'edge_wake_holds')
const asked = (edge: TestEdge) => gaugeOf(edge, 'edge_wakes_asked_total')

async function isHeld(edge: TestEdge, count: number): Promise<void> {
  await until(async () => (await held(edge)) === count, `${count} requests are held`)
}

/** A host that wakes the VM when the test says so. */
async function sleeperFor(t: Test, edge: TestEdge, port: number) {
  const told = Promise.withResolvers<(host: FakeHost) => Promise<void>>()
  const onCall = async (host: FakeHost) => (await told.promise)(host)
  const host = await fakeHostFor(t, edge, { vm: 'amber', ports: { 80: port }, onCall })
  return { host, wake: () => told.resolve((host) => host.report('running')), answer: told.resolve }
}

t.test('a request wakes its VM, waits for it, and its log line says for how long', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  const host = await fakeHostFor(t, edge, { vm: 'amber', ports: { 80: origin.port } })
  const answer = await exchange(await edge.dial(HOST), GET, isWhole)
  t.match(answer, { status: 200 })
  t.equal(host.calls.length, 1)
  t.match(host.calls[0], { vm: 'amber', what: 'wake' })
  const [line] = edge.accessLog
  t.match(line, { status: 200, vm_id: 'amber' })
  const { wake_ms: wakeMs, duration } = line as { wake_ms: number; duration: number }
  t.ok(wakeMs > 0 && wakeMs / 1_000 <= duration, `${wakeMs} ms of ${duration} s`)
  t.equal(await asked(edge), 1)
  t.equal(await held(edge), 0)
  t.equal(await gaugeOf(edge, 'edge_wake_hold_seconds_count'), 1)
  await exchange(await edge.dial(HOST), GET, isWhole)
  t.notOk('wake_ms' in (edge.accessLog[1] ?? {}), 'a VM that runs is not waited for')
})

t.test('requests, streams and upgrades wait side by side, and the VM is called once', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  const { host, wake } = await sleeperFor(t, edge, origin.port)
  const session = await edge.h2(HOST)
  const url = `wss://${HOST}:${edge.httpsPort}/`
  const socket = new WebSocket(url, {
    ca: edge.ca,
    lookup: (_n, _o, done) => done(null, [{ address: '127.0.0.1', family: 4 }] as never, 4),
  })
  const opened = once(socket, 'open')
  const extended = session.request(
    {
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':scheme': 'https',
      ':path': '/',
      ':authority': HOST,
      'sec-websocket-version': '13',
    },
    { endStream: false },
  )
  const answered = once(extended, 'response')
  await isHeld(edge, 2)
  wake()
  await opened
  const [head] = (await answered) as [Record<string, unknown>]
  t.equal(head[':status'], 200)
  t.equal(host.calls.length, 1)
  socket.terminate()
  extended.destroy()
})

t.test('many at once over HTTP/1.1 and HTTP/2 cost one call', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  const { host, wake } = await sleeperFor(t, edge, origin.port)
  const session = await edge.h2(HOST)
  const streams = Array.from({ length: 20 }, () => h2Exchange(session, { ':path': '/now' }))
  const plain = Array.from({ length: 20 }, async () => exchange(await edge.dialPlain(), GET, isWhole))
  await isHeld(edge, 40)
  wake()
  const answers = await Promise.all([...streams, ...plain])
  t.same([...new Set(answers.map(({ status }) => status))], [200])
  t.equal(host.calls.length, 1)
  t.equal(await asked(edge), 1)
})

t.test('a body is not read while its VM sleeps, and arrives whole', async (t) => {
  const BYTES = 8 * 1_048_576
  const edge = await edgeFor(t)
  let received = 0
  const server = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => {
      received += chunk.length
    })
    request.on('end', () => response.end('thanks'))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { wake } = await sleeperFor(t, edge, (server.address() as AddressInfo).port)
  const socket = await edge.dialPlain()
  const head = `POST /upload HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${BYTES}\r\nConnection: close\r\n\r\n`
  socket.write(head)
  socket.write(Buffer.alloc(BYTES, 'x'))
  const session = await edge.h2(HOST)
  const call = h2Call(session, { ':method': 'POST', ':path': '/upload' }, { hasBody: true })
  call.stream.end(Buffer.alloc(BYTES, 'y'))
  await isHeld(edge, 2)
  await until(() => socket.writableLength > 0, 'the client has to wait')
  t.ok(socket.writableLength > BYTES / 4, `${socket.writableLength} of ${BYTES} bytes stay with the client`)
  const sent = () => BYTES - (call.stream.writableLength + (call.stream.bufferSize ?? 0))
  t.ok(sent() < BYTES / 2, 'an HTTP/2 stream stops at its window')
  wake()
  t.match(await exchange(socket, '', (text) => text.endsWith('thanks')), { status: 200 })
  t.match(await call.closed, { status: 200, body: 'thanks' })
  t.equal(received, 2 * BYTES)
})

t.test('an Expect: 100-continue gets no 100 before the VM is there to want the body', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, (request, response) => {
    request.resume()
    request.on('end', () => response.end('thanks'))
  })
  const { wake } = await sleeperFor(t, edge, origin.port)
  const socket = await edge.dialPlain()
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk
  })
  socket.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n`)
  await isHeld(edge, 1)
  t.equal(text, '')
  wake()
  await until(() => text.startsWith('HTTP/1.1 100'), 'the 100')
  socket.write('ok')
  await until(() => text.includes('thanks'), 'the answer')
})

t.test('a VM that failed is told at once, one that never answers after the time limit', async (t) => {
  const edge = await edgeFor(t, { LANDFALL_WAKE_TIMEOUT_MS: '2000' })
  const { host, answer } = await sleeperFor(t, edge, 1)
  const late = await exchange(await edge.dial(HOST), GET, isWhole)
  t.match(late, { status: 504, body: /"code":"wake_timeout".*"retryable":true/ })
  answer((host) => host.report('failed', { message: 'no memory' }))
  await until(() => host.calls.length === 1, 'the call is taken')
  const startedAt = performance.now()
  const failed = await exchange(await edge.dial(HOST), GET, isWhole)
  t.ok(failed.status === 502 || failed.status === 503, `${failed.status}`)
  t.ok(performance.now() - startedAt < 2_000)
})

t.test('who waits hears of the failure at once', async (t) => {
  const edge = await edgeFor(t)
  const { answer } = await sleeperFor(t, edge, 1)
  const waiting = [1, 2].map(async () => exchange(await edge.dial(HOST), GET, isWhole))
  await isHeld(edge, 2)
  answer((host) => host.report('failed', { message: 'no memory' }))
  for (const { status, body } of await Promise.all(waiting)) {
    t.equal(status, 502)
    t.match(body, /"code":"wake_failed"/)
  }
  t.match(edge.accessLog.at(-1), { error_code: 'wake_failed', wake_ms: Number })
})

t.test('a VM that became private while it slept lets nobody in that waited', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  const { answer } = await sleeperFor(t, edge, origin.port)
  const waiting = exchange(await edge.dial(HOST), GET, isWhole)
  await isHeld(edge, 1)
  await putTestVm(edge.store, { name: 'amber', ports: { 80: { visibility: 'private' } } })
  answer((host) => host.report('running'))
  t.match(await waiting, { status: 401 })
  t.equal(origin.requests.length, 0)
})

t.test('a client that leaves ends its wait', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  const { wake } = await sleeperFor(t, edge, origin.port)
  const [whole, half, tls] = [await edge.dialPlain(), await edge.dialPlain(), await edge.dial(HOST)]
  const session = await edge.h2(HOST)
  for (const socket of [whole, half, tls]) socket.write(GET)
  const bare = h2Call(session, { ':path': '/now' })
  const body = h2Call(session, { ':method': 'POST', ':path': '/now' }, { hasBody: true })
  body.stream.write(Buffer.alloc(10_000))
  const upgrade = new WebSocket(`wss://${HOST}:${edge.httpsPort}/`, {
    ca: edge.ca,
    lookup: (_n, _o, done) => done(null, [{ address: '127.0.0.1', family: 4 }] as never, 4),
  })
  upgrade.on('error', () => {})
  const connect = await edge.dial(HOST)
  await isHeld(edge, 6)
  whole.resetAndDestroy()
  half.end()
  tls.destroy()
  bare.stream.close(8)
  body.stream.close(8)
  upgrade.terminate()
  connect.destroy()
  await isHeld(edge, 0)
  t.same([...new Set(edge.accessLog.map((line) => line.close_reason))], ['client_gone'])
  wake()
  t.match(await exchange(await edge.dial(HOST), GET, isWhole), { status: 200 })
  t.equal(origin.requests.length, 1, 'nothing was relayed for those who left')
})

t.test('an edge that goes away answers who waits', async (t) => {
  const edge = await edgeFor(t)
  await sleeperFor(t, edge, 1)
  const waiting = exchange(await edge.dial(HOST), GET, isWhole)
  await isHeld(edge, 1)
  await edge[Symbol.asyncDispose]()
  t.match(await waiting, { status: 503, body: /"code":"draining"/ })
})

t.test('a CONNECT to a VM that is asleep waits as a request does', async (t) => {
  const edge = await edgeFor(t)
  const server = createTcpServer((socket) => socket.end('SSH-2.0-test\r\n')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const told = Promise.withResolvers<void>()
  const host = await fakeHostFor(t, edge, {
    vm: 'amber',
    ports: { 22: port, 80: port },
    onCall: async (host) => {
      await told.promise
      await host.report('running')
    },
  })
  const socket = await edge.dial(HOST)
  const bytes = exchange(socket, `CONNECT ${HOST}:22 HTTP/1.1\r\nHost: ${HOST}:22\r\n\r\n`)
  const stream = (await edge.h2(HOST)).request(
    { ':method': 'CONNECT', ':authority': `${HOST}:22` },
    { endStream: false },
  )
  await isHeld(edge, 2)
  told.resolve()
  const { status, body } = await bytes
  t.same({ status, body }, { status: 200, body: 'SSH-2.0-test\r\n' })
  let text = ''
  for await (const chunk of stream) text += chunk
  t.equal(text, 'SSH-2.0-test\r\n')
  t.equal(host.calls.length, 1)
})
