/** SIGTERM drains: what is open may end, nothing new is taken, HTTP/2 clients are told, and a deadline ends the rest. */

import { once } from 'node:events'
import { type ClientHttp2Session, connect as connectH2 } from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { h2Call } from '../helpers/h2-client.ts'
import { type Landfall, landfallFor } from '../helpers/landfall.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const HOST = 'hello.localhost'
const BYTES = 40 * 1_048_576

t.test('an open HTTP/1.1 download ends whole, then the process ends with code 0', async (t) => {
  const landfall = await landfallFor(t)
  const socket = await dial(t, landfall, 'http/1.1')
  socket.write(`GET /stream?bytes=${BYTES} HTTP/1.1\r\nHost: ${HOST}:${landfall.httpsPort}\r\n\r\n`)
  await once(socket, 'readable')
  landfall.signal('SIGTERM')
  await refusesNew(landfall)
  const askedAt = performance.now()
  let received = 0
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length
  })
  await once(socket, 'end')
  t.ok(received > BYTES, `${received} bytes came, head included`)
  t.same(await landfall.exited, { code: 0, signal: null })
  t.ok(performance.now() - askedAt < 5_000, `took ${Math.round(performance.now() - askedAt)} ms of 10,000`)
})

t.test('an open HTTP/2 download ends whole after a GOAWAY that lets it', async (t) => {
  const landfall = await landfallFor(t)
  const session = await openH2(t, landfall)
  const goaway = once(session, 'goaway')
  const stream = session.request({ ':path': `/stream?bytes=${BYTES}` })
  await once(stream, 'response')
  landfall.signal('SIGTERM')
  const [code, lastStream] = await goaway
  t.equal(code, 0, 'NO_ERROR')
  t.ok(lastStream >= (stream.id ?? 0), 'the stream is among those that go on')
  let received = 0
  stream.on('data', (chunk: Buffer) => {
    received += chunk.length
  })
  await once(stream, 'end')
  t.equal(received, BYTES)
  t.same(await landfall.exited, { code: 0, signal: null })
})

t.test('connections on which nothing is open are closed at once and do not hold up the end', async (t) => {
  const landfall = await landfallFor(t)
  // One that has not even begun its handshake, and one that left before it.
  const [bare, left] = [await connectBare(t, landfall), await connectBare(t, landfall)]
  left.destroy()
  const [idle, used] = [await dial(t, landfall, 'http/1.1'), await dial(t, landfall, 'http/1.1')]
  const heard = transcriptOf(used)
  used.write(`GET /status/200 HTTP/1.1\r\nHost: ${HOST}:${landfall.httpsPort}\r\n\r\n`)
  await heard.has('status 200')
  const session = await openH2(t, landfall)
  t.equal((await h2Call(session, { ':path': '/' }).closed).status, 200)
  const askedAt = performance.now()
  landfall.signal('SIGTERM')
  t.same(await landfall.exited, { code: 0, signal: null })
  t.ok(performance.now() - askedAt < 5_000, `took ${Math.round(performance.now() - askedAt)} ms of 10,000`)
  await until(() => bare.destroyed && idle.destroyed && used.destroyed && session.destroyed, 'all are closed')
})

t.test('an answer during the drain tells an HTTP/1.1 client that the connection ends', async (t) => {
  const landfall = await landfallFor(t)
  const socket = await dial(t, landfall, 'http/1.1')
  const heard = transcriptOf(socket)
  socket.write(`GET /slow?ms=1500 HTTP/1.1\r\nHost: ${HOST}:${landfall.httpsPort}\r\n\r\n`)
  await isWithVm(landfall)
  landfall.signal('SIGTERM')
  await heard.has('answered after')
  t.match(heard.text, /\r\nconnection: close\r\n/i)
  await heard.ends()
  t.equal((await landfall.exited).code, 0)
})

t.test('the edge says that it is not ready while it drains', async (t) => {
  const landfall = await landfallFor(t)
  const session = await openH2(t, landfall)
  const call = h2Call(session, { ':path': '/slow?ms=4000' })
  await isWithVm(landfall)
  landfall.signal('SIGTERM')
  await refusesNew(landfall)
  const ready = await fetch(`http://127.0.0.1:${landfall.opsPort}/readyz`)
  t.equal(ready.status, 503)
  t.match(await ready.json(), { ready: false, reasons: ['draining'] })
  t.match(await call.closed, { status: 200 })
})

t.test('the deadline cuts what is left: events, a WebSocket, a client that does not read', async (t) => {
  const landfall = await landfallFor(t, { env: { LANDFALL_DRAIN_TIMEOUT_MS: '2000' } })
  const events = transcriptOf(await requestOn(t, landfall, '/events?ms=100'))
  await events.has('id: 1\n')
  const stalled = await requestOn(t, landfall, '/stream?bytes=1000000000')
  await once(stalled, 'readable')
  const options = { ca: landfall.ca, servername: HOST, headers: { host: `${HOST}:${landfall.httpsPort}` } }
  const socket = new WebSocket(`wss://127.0.0.1:${landfall.httpsPort}/`, options)
  socket.on('error', () => {})
  await once(socket, 'open')
  const askedAt = performance.now()
  landfall.signal('SIGTERM')
  t.same(await landfall.exited, { code: 0, signal: null })
  const tookMs = performance.now() - askedAt
  t.ok(tookMs >= 1_900 && tookMs < 8_000, `took ${Math.round(tookMs)} ms`)
  await until(() => events.isClosed && socket.readyState === WebSocket.CLOSED, 'both are closed')
  t.match(events.text, /id: 8\n/, 'events came up to the deadline')
})

t.test('a second signal does not wait', async (t) => {
  const landfall = await landfallFor(t)
  const events = transcriptOf(await requestOn(t, landfall, '/events?ms=100'))
  await events.has('id: 1\n')
  landfall.signal('SIGTERM')
  await until(() => landfall.stderr().includes('waiting for open requests'), 'it says what it waits for')
  const askedAt = performance.now()
  landfall.signal('SIGTERM')
  t.equal((await landfall.exited).code, 143)
  t.ok(performance.now() - askedAt < 8_000)
})

/** Waits until the edge has a request under way at the VM. */
async function isWithVm({ opsPort }: Landfall): Promise<void> {
  await until(async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${opsPort}/metrics`)).text()
    return /^edge_(upstream_connections|sockets_open\{side="upstream"\}) [1-9]/m.test(metrics)
  }, 'the request is with the VM')
}

/** Waits until new connections are refused. */
async function refusesNew({ httpsPort }: Landfall): Promise<void> {
  await until(async () => {
    const socket = connectTcp(httpsPort, '127.0.0.1')
    const isRefused = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(false)).once('error', () => resolve(true))
    })
    socket.destroy()
    return isRefused
  }, 'new connections are refused')
}

async function connectBare(t: Test, { httpsPort }: Landfall): Promise<Socket> {
  const socket = connectTcp(httpsPort, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {}).resume()
  await once(socket, 'connect')
  return socket
}

async function dial(t: Test, { httpsPort, ca }: Landfall, protocol: string): Promise<TLSSocket> {
  const options = { host: '127.0.0.1', port: httpsPort, servername: HOST, ca, ALPNProtocols: [protocol] }
  const socket = connectTls(options)
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  return socket
}

async function requestOn(t: Test, landfall: Landfall, path: string): Promise<TLSSocket> {
  const socket = await dial(t, landfall, 'http/1.1')
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${HOST}:${landfall.httpsPort}\r\n\r\n`)
  return socket
}

async function openH2(t: Test, landfall: Landfall): Promise<ClientHttp2Session> {
  const socket = await dial(t, landfall, 'h2')
  const session = connectH2(`https://${HOST}:${landfall.httpsPort}`, { createConnection: () => socket })
  t.teardown(() => session.destroy())
  session.on('error', () => {})
  await once(session, 'connect')
  return session
}
