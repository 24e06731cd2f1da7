/** WebSockets over HTTP/2 (RFC 8441): a stream of the session becomes the tunnel, the VM sees an ordinary upgrade. */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { constants } from 'node:http2'
import type { Duplex } from 'node:stream'
import t from 'tap'
import { WebSocket } from 'ws'
import { edgeFor } from '../helpers/edge.ts'
import { h2Call } from '../helpers/h2-client.ts'
import { originFor } from '../helpers/origin.ts'
import { until } from '../helpers/until.ts'
import { BINARY, CLOSE, closeWith, PING, PONG, TEXT } from '../helpers/ws-frames.ts'
import { wsOriginFor } from '../helpers/ws-origin.ts'
import { openWsOverH2 } from '../helpers/ws-over-h2.ts'

const HOST = 'app.localhost'
/** The issue says one second; the rest is for a machine that is busy. */
const DEADLINE_MS = 2_000

t.test('the edge says in its settings that it takes extended CONNECT', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const session = await edge.h2(HOST)
  t.equal(session.remoteSettings.enableConnectProtocol, true)
})

t.test('messages of both kinds and pings come back from the VM', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const fields = {
    ':path': '/chat?room=1',
    'sec-websocket-protocol': 'chat.v1, chat.v2',
    origin: 'https://x.test',
  }
  const socket = await openWsOverH2(t, await edge.h2(HOST), fields)
  t.equal(socket.status, 200)
  t.equal(socket.headers['sec-websocket-protocol'], 'chat.v2')
  t.equal(socket.headers['sec-websocket-accept'], undefined, 'RFC 8441 section 5 has no use for it')
  socket.send(TEXT, 'Grüße')
  socket.send(BINARY, Buffer.from([0, 255, 1]))
  socket.send(PING, 'are you there')
  await until(() => socket.messages.length === 3, 'three answers')
  t.same(socket.messages, [
    { opcode: TEXT, payload: Buffer.from('Grüße') },
    { opcode: BINARY, payload: Buffer.from([0, 255, 1]) },
    { opcode: PONG, payload: Buffer.from('are you there') },
  ])
  t.match(origin.requests[0], {
    method: 'GET',
    url: '/chat?room=1',
    headers: { host: HOST, origin: 'https://x.test', upgrade: 'websocket', 'x-forwarded-proto': 'https' },
  })
})

t.test('a message of 32 MiB comes back as it was sent', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const socket = await openWsOverH2(t, await edge.h2(HOST))
  const message = Buffer.alloc(32 * 1_048_576)
  for (let at = 0; at < message.length; at += 997) message[at] = at & 255
  socket.send(BINARY, message)
  await until(() => socket.messages.length === 1, 'the echo', 30_000)
  t.ok(socket.messages[0]?.payload.equals(message))
})

t.test('close codes pass in both directions', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const session = await edge.h2(HOST)
  const [first, second] = [await openWsOverH2(t, session), await openWsOverH2(t, session)]
  const closed = once(origin.sockets[0] ?? first.stream, 'close')
  first.send(CLOSE, closeWith(4001, 'enough'))
  first.stream.end()
  t.same(await closed, [4001, Buffer.from('enough')])
  origin.sockets[1]?.close(4002, 'closed for today')
  await until(() => second.messages.length === 1, 'the close frame of the VM')
  t.same(second.messages, [{ opcode: CLOSE, payload: closeWith(4002, 'closed for today') }])
})

t.test('the end of the tunnel is the end of the stream, without a reset', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const socket = await openWsOverH2(t, await edge.h2(HOST))
  const ended = once(socket.stream, 'end')
  socket.send(CLOSE, closeWith(1000, ''))
  await ended
  socket.stream.end()
  await until(() => socket.stream.closed, 'the stream is closed')
  t.equal(socket.stream.rstCode, 0)
  await until(() => edge.accessLog.length === 1, 'a line in the access log')
  t.match(edge.accessLog, [{ status: 200, request: { proto: 'HTTP/2.0' } }])
})

t.test('each direction can end by itself', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  const { promise: opened, resolve } = Promise.withResolvers<Duplex>()
  origin.server.on('upgrade', (request, socket) => {
    socket.on('error', () => {})
    socket.write(handshakeFor(request.headers['sec-websocket-key'] ?? ''))
    resolve(socket)
  })
  await edge.route(HOST, origin.port)
  const socket = await openWsOverH2(t, await edge.h2(HOST))
  const inside = await opened
  const ended = once(inside.resume(), 'end')
  socket.stream.end()
  await ended
  t.notOk(socket.stream.readableEnded)
  inside.end(Buffer.from([0x81, 5, ...Buffer.from('still')]))
  await once(socket.stream, 'end')
  t.same(socket.messages, [{ opcode: TEXT, payload: Buffer.from('still') }])
})

t.test('a client that cancels the stream takes the VM with it, and only that one', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const session = await edge.h2(HOST)
  const [leaving, staying] = [await openWsOverH2(t, session), await openWsOverH2(t, session)]
  leaving.stream.close(8)
  await until(() => origin.sockets[0]?.readyState === WebSocket.CLOSED, 'the VM sees it', DEADLINE_MS)
  staying.send(TEXT, 'still here')
  await until(() => staying.messages.length === 1, 'the echo of the other')
})

t.test('a VM that is gone without a word ends the stream', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const session = await edge.h2(HOST)
  const socket = await openWsOverH2(t, session)
  origin.sockets[0]?.terminate()
  await until(() => socket.stream.readableEnded, 'the client sees it', DEADLINE_MS)
  t.same(socket.messages, [], 'no close frame is made up')
  t.notOk(session.destroyed, 'the session goes on')
})

t.test('a VM that resets its connection resets the stream', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const session = await edge.h2(HOST)
  const socket = await openWsOverH2(t, session)
  origin.requests[0]?.socket.resetAndDestroy()
  await until(() => socket.stream.closed, 'the client sees it', DEADLINE_MS)
  // RFC 8441 section 5.
  t.equal(socket.stream.rstCode, constants.NGHTTP2_CANCEL)
  t.notOk(session.destroyed, 'the session goes on')
})

t.test('a VM that refuses the handshake is quoted, body and all', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  origin.server.on('upgrade', (_request, socket) => {
    socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\nX-Why: because\r\n\r\nno entry')
  })
  await edge.route(HOST, origin.port)
  const session = await edge.h2(HOST)
  const headers = { ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': '/' }
  const call = h2Call(session, { ...headers, 'sec-websocket-version': '13' }, { hasBody: true })
  t.match(await call.closed, { status: 403, body: 'no entry', headers: { 'x-why': 'because' }, resetCode: 0 })
})

t.test('a VM that knows no WebSocket answers as it would any request', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, (_request, response) => response.writeHead(404).end('what?'))
  await edge.route(HOST, origin.port)
  const session = await edge.h2(HOST)
  const headers = { ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': '/' }
  const call = h2Call(session, { ...headers, 'sec-websocket-version': '13' }, { hasBody: true })
  t.match(await call.closed, { status: 404, body: 'what?' })
  t.match(await h2Call(session, { ':path': '/' }).closed, { status: 404 })
})

t.test('an extended CONNECT for another protocol is refused', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  await edge.route(HOST, origin.port)
  const headers = { ':method': 'CONNECT', ':protocol': 'connect-udp', ':scheme': 'https', ':path': '/' }
  const answer = await h2Call(await edge.h2(HOST), headers).closed
  t.ok([405, 501].includes(answer.status), `answered ${answer.status}`)
  t.same(origin.requests, [])
})

function handshakeFor(key: string): string {
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
}
