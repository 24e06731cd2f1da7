/**
 * The attacker opens WebSockets and says nothing more. A naive proxy switches every time limit off at the upgrade, so
 * that silent tunnels pile up for ever; it also copies the VM's 101 as it is, hop-by-hop fields included. A tunnel must
 * end after the idle limit, not before, and its 101 must be the edge's own.
 */

import t from 'tap'
import { h2Call } from '../helpers/h2-client.ts'
import { parseAnswer } from '../helpers/raw-client.ts'
import { accessLineFor, EXTENDED_CONNECT, HOST, routedEdgeFor } from '../helpers/routed-edge.ts'
import {
  fieldLines,
  fieldOf,
  scriptedVmFor,
  switchingProtocols,
  upgradeRequest,
} from '../helpers/scripted-vm.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const IDLE_MS = 700
const IDLE = { LANDFALL_TUNNEL_IDLE_TIMEOUT_MS: String(IDLE_MS) }
/** Far longer than a busy machine stands still. */
const BUSY_MS = 2_000
const BUSY = { LANDFALL_TUNNEL_IDLE_TIMEOUT_MS: String(BUSY_MS) }

for (const way of ['plain', 'tls'] as const) {
  t.test(`a silent tunnel ends after the idle limit over ${way}`, async (t) => {
    const vm = await scriptedVmFor(t, (socket, { head }) => void socket.write(switchingProtocols(head)))
    const edge = await routedEdgeFor(t, vm.port, IDLE)
    const socket = await edge.open(way)
    const got = transcriptOf(socket)
    socket.write(upgradeRequest(HOST))
    await got.has('101')
    const startedAt = performance.now()
    await got.ends(IDLE_MS + 3_000)
    t.ok(performance.now() - startedAt >= IDLE_MS - 50, 'not before the limit')
    await until(
      () => vm.sockets[0]?.readableEnded === true || vm.sockets[0]?.destroyed === true,
      'the VM hears',
    )
    t.match(await accessLineFor(edge, 1), { status: 101, close_reason: 'tunnel_idle' })
  })
}

t.test('a silent tunnel ends after the idle limit over HTTP/2, the session goes on', async (t) => {
  const vm = await scriptedVmFor(t, (socket, { head }) => void socket.write(switchingProtocols(head)))
  const edge = await routedEdgeFor(t, vm.port, IDLE)
  const session = await edge.openH2()
  const call = h2Call(session, EXTENDED_CONNECT, { hasBody: true })
  await until(() => call.answer.status === 200, 'the switch')
  await until(() => call.stream.closed, 'the end of the tunnel', IDLE_MS + 3_000)
  await until(
    () => vm.sockets[0]?.readableEnded === true || vm.sockets[0]?.destroyed === true,
    'the VM hears',
  )
  t.match(await accessLineFor(edge, 1), { close_reason: 'tunnel_idle' })
  t.equal((await h2Call(session, { ':path': '/.landfall/errors', ':authority': HOST }).closed).status, 200)
})

for (const speaker of ['client', 'VM'] as const) {
  t.test(`a tunnel in which only the ${speaker} speaks is not idle`, async (t) => {
    const vm = await scriptedVmFor(t, (socket, { head }) => void socket.write(switchingProtocols(head)))
    const edge = await routedEdgeFor(t, vm.port, BUSY)
    const socket = await edge.open('plain')
    const got = transcriptOf(socket)
    socket.write(upgradeRequest(HOST))
    await got.has('101')
    const startedAt = performance.now()
    let spokeAt = 0
    await until(() => {
      if (performance.now() - spokeAt >= BUSY_MS / 20) {
        spokeAt = performance.now()
        ;(speaker === 'client' ? socket : vm.sockets[0])?.write('.')
      }
      return performance.now() - startedAt > BUSY_MS * 1.5
    }, 'more than the limit')
    t.notOk(socket.destroyed || socket.readableEnded)
    t.same(edge.accessLog, [])
  })
}

const RAW_101 =
  'Keep-Alive: timeout=666\r\nProxy-Connection: x\r\nTE: gzip\r\nConnection: X-Inside\r\nX-Inside: 1\r\n' +
  'X-Request-Id: forged\r\nSec-WebSocket-Protocol: chat\r\nSet-Cookie: a=b\r\n'

t.test('the 101 is the edge’s own: end-to-end fields pass, hop-by-hop ones do not', async (t) => {
  const vm = await scriptedVmFor(
    t,
    (socket, { head }) => void socket.write(`${switchingProtocols(head, RAW_101)}hello`),
  )
  const edge = await routedEdgeFor(t, vm.port)
  const socket = await edge.open('tls')
  const got = transcriptOf(socket)
  socket.write(upgradeRequest(HOST))
  await got.has('hello')
  const { text } = got
  const { status, headers, body } = parseAnswer(text)
  t.match({ status, body }, { status: 101, body: 'hello' })
  t.match(headers, {
    upgrade: 'websocket',
    // RFC 6455 section 4.2.2, for the key in upgradeRequest.
    'sec-websocket-accept': 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
    'sec-websocket-protocol': 'chat',
    'set-cookie': 'a=b',
    'x-request-id': /^[0-9a-f]{32}$/,
  })
  t.equal(headers.connection?.toLowerCase(), 'upgrade')
  for (const name of ['keep-alive', 'proxy-connection', 'te', 'x-inside']) t.notOk(name in headers, name)
  const names = fieldLines(text.slice(0, text.indexOf('\r\n\r\n'))).map(([name]) => name.toLowerCase())
  t.equal(new Set(names).size, names.length, 'no field twice')
})

t.test('the handshake of an HTTP/2 client is made anew for the VM and its answer stays here', async (t) => {
  const vm = await scriptedVmFor(
    t,
    (socket, { head }) => void socket.write(`${switchingProtocols(head, RAW_101)}hello`),
  )
  const edge = await routedEdgeFor(t, vm.port)
  const call = h2Call(
    await edge.openH2(),
    { ...EXTENDED_CONNECT, 'sec-websocket-protocol': 'chat' },
    { hasBody: true },
  )
  await until(() => call.answer.body === 'hello', 'the first bytes')
  t.match(call.answer, { status: 200, headers: { 'sec-websocket-protocol': 'chat', 'set-cookie': 'a=b' } })
  for (const name of ['keep-alive', 'te', 'x-inside', 'upgrade', 'connection', 'sec-websocket-accept'])
    t.notOk(name in call.answer.headers, name)
  const head = vm.requests[0]?.head ?? ''
  t.match(head, /^GET \/ HTTP\/1\.1\r\n/)
  t.match(fieldOf(head, 'sec-websocket-key'), /^[A-Za-z0-9+/]{22}==$/)
  t.match(fieldOf(head, 'upgrade'), 'websocket')
  call.stream.write('to the VM')
  await until(() => vm.received[0]?.endsWith('to the VM') === true, 'bytes to the VM')
})
