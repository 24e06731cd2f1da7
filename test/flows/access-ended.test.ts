/** Access that ends while something is open: WebSockets hear 4401 between two frames, all else is cut, and nobody else notices. */

import { once } from 'node:events'
import t from 'tap'
import { ADA, accessSceneFor, ENDED, LIMIT_MS, openWs, take } from '../helpers/access-scene.ts'
import { HOST } from '../helpers/gated-proxy.ts'
import { lostTimeFor } from '../helpers/lost-time.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'
import { CLOSE, clientFrame, TEXT } from '../helpers/ws-frames.ts'

t.test('a WebSocket is told 4401 and then ends, on both sides, and the log says why', async (t) => {
  const { proxy, vm, vmSocket } = await accessSceneFor(t)
  const { socket, messages } = await openWs(proxy)
  socket.write(clientFrame(TEXT, 'hello'))
  await until(() => (vm.received[0]?.split('\r\n\r\n')[1]?.length ?? 0) > 0, 'the VM hears the client')
  const lostMs = lostTimeFor(t)
  const takenAt = performance.now()
  take(proxy)
  await once(socket, 'end')
  t.ok(performance.now() - takenAt < LIMIT_MS + lostMs())
  t.same(messages, [ENDED])
  await until(() => vmSocket().readableEnded, 'the VM sees the end')
  socket.end()
  vmSocket().end()
  await until(() => proxy.accessLog.length === 1, 'the log line')
  t.match(proxy.accessLog[0], {
    status: 101,
    sub: 'ada',
    auth: 'token',
    close_reason: 'access_ended',
    error_code: 'auth_required',
    auth_reason: 'not-a-guest',
  })
  t.same(await proxy.metric('edge_streams_ended_total'), [
    'edge_streams_ended_total{reason="auth_required"} 1',
  ])
  t.same(await proxy.metric('edge_tunnels_open'), [
    'edge_tunnels_open{kind="websocket"} 0',
    'edge_tunnels_open{kind="connect"} 0',
  ])
})

t.test('the close frame waits for the end of the frame under way, whatever comes behind it', async (t) => {
  const { proxy, vmSocket } = await accessSceneFor(t)
  const { socket, messages } = await openWs(proxy)
  vmSocket().write(Buffer.concat([Buffer.from([0x82, 126, 0x01, 0x00]), Buffer.alloc(100, 1)]))
  await once(socket, 'data')
  take(proxy)
  await until(() => proxy.gate.rechecked.length > 0, 'it is looked at')
  t.same(messages, [])
  vmSocket().write(Buffer.concat([Buffer.alloc(156, 1), Buffer.from([0x81, 2, 0x6e, 0x6f])]))
  await once(socket, 'end')
  t.equal(messages.length, 2)
  t.equal(messages[0]?.payload.length, 256)
  t.same(messages[1], ENDED)
})

t.test('a frame that does not end in time is cut', async (t) => {
  const { proxy, vmSocket } = await accessSceneFor(t)
  const { socket, messages } = await openWs(proxy)
  vmSocket().write(Buffer.concat([Buffer.from([0x82, 126, 0x01, 0x00]), Buffer.alloc(100, 1)]))
  await once(socket, 'data')
  const lostMs = lostTimeFor(t)
  const takenAt = performance.now()
  take(proxy)
  await until(() => socket.destroyed || socket.readableEnded, 'the client is cut')
  t.ok(performance.now() - takenAt < LIMIT_MS + lostMs())
  t.same(messages, [])
  await until(() => vmSocket().destroyed || vmSocket().readableEnded, 'and the VM')
})

t.test('nothing that the client sends afterwards reaches the VM', async (t) => {
  const { proxy, vm, vmSocket } = await accessSceneFor(t)
  const { socket, messages } = await openWs(proxy)
  vmSocket().write(Buffer.from([0x82, 2, 1]))
  await once(socket, 'data')
  take(proxy)
  await until(() => proxy.gate.rechecked.length > 0, 'it is looked at')
  const before = vm.received[0]
  socket.write(clientFrame(TEXT, 'still here'))
  await until(
    async () =>
      (await proxy.metric('edge_tunnel_bytes_total')).some((line) =>
        /"websocket",dir="in"} [1-9]/.test(line),
      ),
    'the edge has it',
  )
  vmSocket().write(Buffer.from([2]))
  await until(() => vmSocket().readableEnded, 'the VM sees the end')
  t.equal(vm.received[0], before)
  t.same(messages, [{ opcode: 2, payload: Buffer.from([1, 2]) }, ENDED])
})

t.test('a VM that has said its own close frame is not talked over', async (t) => {
  const { proxy, vmSocket } = await accessSceneFor(t)
  const { socket, messages } = await openWs(proxy)
  vmSocket().write(Buffer.from([0x88, 2, 0x03, 0xe8]))
  await until(() => messages.length === 1, 'its close frame')
  take(proxy)
  await once(socket, 'end')
  t.same(messages, [{ opcode: CLOSE, payload: Buffer.from([3, 0xe8]) }])
})

t.test('a client that does not close is cut, and one that reads nothing too', async (t) => {
  const { proxy } = await accessSceneFor(t)
  const { socket } = await openWs(proxy)
  socket.pause()
  take(proxy)
  await until(() => proxy.accessLog.length === 1, 'it is over although the client stays', 3 * LIMIT_MS)
  t.match(proxy.accessLog[0], { close_reason: 'access_ended' })
})

t.test('a CONNECT tunnel is cut on both sides', async (t) => {
  const { proxy, vmSocket } = await accessSceneFor(t)
  const socket = await proxy.dial()
  const heard = transcriptOf(socket)
  socket.write(`CONNECT ${HOST}:22 HTTP/1.1\r\nHost: ${HOST}:22\r\n${ADA}\r\n`)
  await heard.has('200')
  socket.write('SSH-2.0-x\r\n')
  await until(() => vmSocket() !== undefined, 'the VM hears it')
  take(proxy)
  await heard.ends(LIMIT_MS)
  await until(() => vmSocket().destroyed || vmSocket().readableEnded, 'the VM sees the end', LIMIT_MS)
  t.match(proxy.accessLog[0], { status: 200, close_reason: 'access_ended', sub: 'ada' })
})

t.test('an event stream is cut so that the client can tell', async (t) => {
  const { proxy, vmSocket } = await accessSceneFor(t)
  const socket = await proxy.dial()
  const heard = transcriptOf(socket)
  socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n${ADA}\r\n`)
  await heard.has('tick')
  take(proxy)
  await heard.ends(LIMIT_MS)
  t.notMatch(heard.text, /\r\n0\r\n/, 'no last chunk')
  await until(() => vmSocket().destroyed || vmSocket().readableEnded, 'the VM sees the end', LIMIT_MS)
  t.match(proxy.accessLog[0], { status: 200, close_reason: 'access_ended', error_code: 'auth_required' })
})

t.test('what has no answer yet is refused', async (t) => {
  const { proxy } = await accessSceneFor(t)
  const socket = await proxy.dial()
  const heard = transcriptOf(socket)
  socket.write(`GET /wait HTTP/1.1\r\nHost: ${HOST}\r\n${ADA}\r\n`)
  await until(
    async () => (await proxy.metric('edge_sockets_open')).includes('edge_sockets_open{side="upstream"} 1'),
    'the VM has it',
  )
  take(proxy)
  await heard.has('"auth_required"')
  t.match(heard.text, /^HTTP\/1\.1 401 /)
  t.match(proxy.accessLog[0], { status: 401, close_reason: 'access_ended', auth_reason: 'not-a-guest' })
})

t.test('a request that waits for its VM to wake is refused', async (t) => {
  const { proxy } = await accessSceneFor(t, { row: { state: 'asleep' } })
  const socket = await proxy.dial()
  const heard = transcriptOf(socket)
  socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n${ADA}\r\n`)
  await until(() => proxy.woken.length === 1, 'the VM is called')
  take(proxy)
  await heard.has('"auth_required"')
})

t.test('a change of the row is enough, and so is time', async (t) => {
  const { proxy } = await accessSceneFor(t, { guests: ['ada', 'bob'] })
  const [ada, bob] = [await openWs(proxy), await openWs(proxy, ADA.replace('ada', 'bob'))]
  proxy.gate.guests.delete('ada')
  proxy.setRow({ generation: 2 })
  await until(() => ada.messages.length === 1, 'the row rings', LIMIT_MS / 2)
  proxy.gate.guests.delete('bob')
  await until(() => bob.messages.length === 1, 'nobody rings', 2 * LIMIT_MS)
})

t.test('a stranger on a public port stays until it becomes private', async (t) => {
  const { proxy } = await accessSceneFor(t, { row: { visibility: 'public' } })
  const { socket, messages } = await openWs(proxy, '')
  const stream = await proxy.dial()
  const heard = transcriptOf(stream)
  stream.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
  await heard.has('tick')
  await openWs(proxy)
  proxy.gate.ring()
  proxy.setRow({ visibility: 'public', generation: 3 })
  await until(() => proxy.gate.rechecked.length >= 2, 'all are looked at')
  t.same(new Set(proxy.gate.rechecked), new Set(['ada']), 'the gate is not even asked about strangers')
  t.notOk(heard.isEnded || socket.readableEnded)
  proxy.setRow({ visibility: 'private' })
  await heard.ends(LIMIT_MS)
  await until(() => socket.destroyed || socket.readableEnded, 'the WebSocket ends', LIMIT_MS)
  t.same(messages, [], 'cut without a word: its frames were not followed')
})

t.test('who logged in on a public port loses it with the login', async (t) => {
  const { proxy } = await accessSceneFor(t, { row: { visibility: 'public' } })
  const { messages } = await openWs(proxy)
  take(proxy)
  await until(() => messages.length === 1, 'the close frame', LIMIT_MS)
  t.same(messages, [ENDED])
})
