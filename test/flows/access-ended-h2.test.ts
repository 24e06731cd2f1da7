/** Access that ends over HTTP/2: WebSockets hear 4401, other streams are reset with CANCEL, and the session goes on. */

import { constants } from 'node:http2'
import t from 'tap'
import { ADA_H2, accessSceneFor, ENDED, take } from '../helpers/access-scene.ts'
import { HOST } from '../helpers/gated-proxy.ts'
import { h2Call } from '../helpers/h2-client.ts'
import { encodeFields, FLAG, FRAME, H2Wire, requestFields } from '../helpers/h2-wire.ts'
import { until } from '../helpers/until.ts'
import { openWsOverH2 } from '../helpers/ws-over-h2.ts'

t.test('a WebSocket over HTTP/2 is told the same, and the session goes on', async (t) => {
  const { proxy } = await accessSceneFor(t, { guests: ['ada', 'bob'] })
  const session = await proxy.h2()
  const ada = await openWsOverH2(t, session, ADA_H2)
  const bob = await openWsOverH2(t, session, { ...ADA_H2, 'x-landfall-authorization': 'Bearer bob' })
  t.same([ada.status, bob.status], [200, 200])
  take(proxy)
  await until(() => ada.messages.length === 1, 'the close frame')
  t.same(ada.messages, [ENDED])
  await until(() => ada.stream.readableEnded, 'and the end')
  ada.stream.end()
  await until(() => proxy.accessLog.length === 1, 'one of them is over')
  t.notOk(bob.stream.closed)
  t.same(bob.messages, [])
})

t.test('a CONNECT tunnel over HTTP/2 is reset with CANCEL', async (t) => {
  const { proxy, vm } = await accessSceneFor(t)
  const session = await proxy.h2()
  const call = h2Call(
    session,
    { ':method': 'CONNECT', ...ADA_H2, ':authority': `${HOST}:22` },
    { hasBody: true },
  )
  call.stream.write('SSH-2.0-x')
  await until(() => vm.received[0] === 'SSH-2.0-x', 'the VM hears it')
  take(proxy)
  t.match(await call.closed, { status: 200, resetCode: constants.NGHTTP2_CANCEL })
  await until(() => proxy.accessLog.length === 1, 'the log line')
  t.match(proxy.accessLog[0], { close_reason: 'access_ended', sub: 'ada' })
})

t.test('over HTTP/2 the stream is reset with CANCEL, without an end that looks whole', async (t) => {
  const { proxy } = await accessSceneFor(t)
  const session = await proxy.h2()
  const call = h2Call(session, { ':path': '/', ...ADA_H2 })
  await until(() => call.answer.body.includes('tick'), 'the first event')
  take(proxy)
  t.equal((await call.closed).resetCode, constants.NGHTTP2_CANCEL)
  t.notOk(session.destroyed)
})

t.test('no END_STREAM is sent before the reset', async (t) => {
  const { proxy } = await accessSceneFor(t)
  const wire = await new H2Wire(await proxy.dial(['h2'])).start()
  const fields = encodeFields(requestFields(HOST, '/', [['x-landfall-authorization', 'Bearer ada']]))
  wire.send(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, fields)
  await until(() => wire.body(1).includes('tick'), 'the first event')
  take(proxy)
  await until(() => wire.isSettled(1) && wire.resetCode(1) !== undefined, 'the reset')
  t.equal(wire.resetCode(1), constants.NGHTTP2_CANCEL)
  t.ok(wire.of(FRAME.data, 1).every(({ flags }) => (flags & FLAG.endStream) === 0))
})

t.test('a VM that goes at once does not take the last word away', async (t) => {
  const { proxy, vmSocket } = await accessSceneFor(t)
  const socket = await openWsOverH2(t, await proxy.h2(), ADA_H2)
  vmSocket().once('end', () => vmSocket().destroy())
  take(proxy)
  const gone = 'edge_sockets_open{side="upstream"} 0'
  await until(async () => (await proxy.metric('edge_sockets_open')).includes(gone), 'the VM is gone')
  socket.stream.end()
  await until(() => socket.stream.closed, 'the end')
  t.same(socket.messages, [ENDED])
  t.equal(socket.stream.rstCode, constants.NGHTTP2_NO_ERROR)
})
