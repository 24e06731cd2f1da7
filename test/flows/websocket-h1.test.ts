/** WebSockets over HTTP/1.1: messages, pings and close codes pass as they are, and each end learns when the other is gone. */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { originFor, rawOriginFor } from '../helpers/origin.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'
import { wsOriginFor } from '../helpers/ws-origin.ts'

const HOST = 'app.localhost'
/** The issue says one second; the rest is for a machine that is busy. */
const DEADLINE_MS = 2_000
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const HANDSHAKE = `GET /chat HTTP/1.1\r\nHost: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n\r\n`

t.test('text and binary messages are echoed by the VM', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const socket = await openFor(t, edge, '/chat?room=1')
  socket.send('Grüße')
  t.same(await once(socket, 'message'), [Buffer.from('Grüße'), false])
  socket.send(Buffer.from([0, 255, 1]))
  t.same(await once(socket, 'message'), [Buffer.from([0, 255, 1]), true])
  t.match(origin.requests[0], { url: '/chat?room=1', headers: { 'x-forwarded-proto': 'https', host: HOST } })
})

t.test('the subprotocol that the VM chooses reaches the client', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const socket = await openFor(t, edge, '/', ['chat.v1', 'chat.v2'])
  t.equal(socket.protocol, 'chat.v2')
})

t.test('pings are answered by the VM, not by the edge', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const socket = await openFor(t, edge)
  const pinged = once(origin.sockets[0] ?? socket, 'ping')
  socket.ping('are you there')
  t.same(await once(socket, 'pong'), [Buffer.from('are you there')])
  t.same(await pinged, [Buffer.from('are you there')])
})

t.test('a message of 32 MiB comes back as it was sent', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const socket = await openFor(t, edge)
  const message = Buffer.alloc(32 * 1_048_576)
  for (let at = 0; at < message.length; at += 997) message[at] = at & 255
  socket.send(message)
  const [echoed] = (await once(socket, 'message')) as [Buffer]
  t.ok(echoed.equals(message))
})

t.test('close code and reason of the client reach the VM', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const socket = await openFor(t, edge)
  const [inside] = origin.sockets
  const closed = Promise.all([once(inside ?? socket, 'close'), once(socket, 'close')])
  socket.close(4001, 'enough')
  const [atVm, atClient] = await closed
  t.same(atVm, [4001, Buffer.from('enough')])
  t.equal(atClient[0], 4001, 'and the VM confirms it')
})

t.test('close code and reason of the VM reach the client', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t, (socket) => socket.close(4002, 'closed for today'))
  await edge.route(HOST, origin.port)
  const socket = connectTo(t, edge)
  t.same(await once(socket, 'close'), [4002, Buffer.from('closed for today')])
})

t.test('a VM that breaks off takes the client with it', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const socket = await openFor(t, edge)
  let code = 0
  socket.on('close', (given) => {
    code = given
  })
  origin.sockets[0]?.terminate()
  await until(() => code === 1006, 'the client sees it', DEADLINE_MS)
})

t.test('a client that breaks off takes the VM with it', async (t) => {
  const edge = await edgeFor(t)
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const socket = await openFor(t, edge)
  const [inside] = origin.sockets
  socket.terminate()
  await until(() => inside?.readyState === WebSocket.CLOSED, 'the VM sees it', DEADLINE_MS)
  await until(() => edge.accessLog.length === 1, 'a line in the access log')
  t.match(edge.accessLog, [{ status: 101 }])
})

t.test(
  'a client that leaves before the VM has answered the handshake takes its connection with it',
  async (t) => {
    const edge = await edgeFor(t)
    const origin = await rawOriginFor(t, () => {})
    await edge.route(HOST, origin.port)
    const socket = await edge.dial(HOST)
    socket.write(HANDSHAKE)
    await until(() => origin.received[0]?.endsWith('\r\n\r\n') === true, 'the handshake reaches the VM')
    socket.destroy()
    await until(() => origin.sockets[0]?.readableEnded === true, 'the VM sees it', DEADLINE_MS)
  },
)

t.test('each direction can end by itself', async (t) => {
  const edge = await edgeFor(t)
  const accept = createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  const fields = `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}`
  const origin = await rawOriginFor(t, (socket, received) => {
    if (received.endsWith('\r\n\r\n'))
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n\r\nfirst words`)
  })
  await edge.route(HOST, origin.port)
  const socket = await edge.dialPlain()
  const heard = transcriptOf(socket)
  socket.write(HANDSHAKE)
  await heard.has('\r\n\r\nfirst words')
  socket.end('last words')
  const [inside] = origin.sockets
  await until(() => inside?.readableEnded === true, 'the VM sees the end of one direction')
  t.match(origin.received[0], /\r\n\r\nlast words$/)
  inside?.write('still talking')
  await heard.has('still talking')
  t.notOk(heard.isEnded)
  inside?.end()
  await heard.ends()
})

t.test('a VM that refuses the handshake is quoted, body and all', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  origin.server.on('upgrade', (_request, socket) => {
    socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\nX-Why: because\r\n\r\nno entry')
  })
  await edge.route(HOST, origin.port)
  const socket = connectTo(t, edge)
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage]
  t.match(response, { statusCode: 403, headers: { 'x-why': 'because' } })
  t.equal(await text(response), 'no entry')
})

t.test('an idle WebSocket is cut after its own time limit, one that talks is not', async (t) => {
  const edge = await edgeFor(t, {
    LANDFALL_TUNNEL_IDLE_TIMEOUT_MS: '2000',
    LANDFALL_IDLE_TIMEOUT_MS: '100',
  })
  const origin = await wsOriginFor(t)
  await edge.route(HOST, origin.port)
  const [idle, busy] = [await openFor(t, edge), await openFor(t, edge)]
  const talking = setInterval(() => busy.send('tick'), 100)
  t.teardown(() => clearInterval(talking))
  await once(idle, 'close')
  t.equal(busy.readyState, WebSocket.OPEN)
  await until(() => edge.accessLog.length === 1, 'a line in the access log')
  t.match(edge.accessLog, [{ close_reason: 'tunnel_idle' }])
})

function connectTo(t: Test, edge: TestEdge, path = '/', protocols: string[] = []): WebSocket {
  const options = { ca: edge.ca, servername: HOST, headers: { host: HOST }, perMessageDeflate: false }
  const socket = new WebSocket(`wss://127.0.0.1:${edge.httpsPort}${path}`, protocols, options)
  socket.on('error', () => {})
  t.teardown(() => socket.terminate())
  return socket
}

async function openFor(t: Test, edge: TestEdge, path = '/', protocols: string[] = []): Promise<WebSocket> {
  const socket = connectTo(t, edge, path, protocols)
  await once(socket, 'open')
  return socket
}
