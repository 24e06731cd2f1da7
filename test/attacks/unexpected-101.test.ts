/**
 * A tenant's VM answers 101 to a request that asked for no switch. A naive proxy has no listener for that and its client
 * waits for ever; a worse one takes the bytes behind it for the next answer. The client must get a 502 at once, and
 * the connection must never be used again. In the other direction an attacker puts a request behind an upgrade that the
 * VM will refuse: it must not reach the VM (CVE-2026-2833 in Pingora).
 */

import t from 'tap'
import { h2Call, h2Exchange } from '../helpers/h2-client.ts'
import { accessLineFor, EXTENDED_CONNECT, HOST, routedEdgeFor } from '../helpers/routed-edge.ts'
import { scriptedVmFor, switchingProtocols, upgradeRequest, VM_OK } from '../helpers/scripted-vm.ts'
import { until } from '../helpers/until.ts'

const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n'
const REQUESTS = {
  GET: `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
  'POST with a body': `POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 2\r\n\r\nhi`,
  'Upgrade: h2c': `GET / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n`,
}

for (const [name, request] of Object.entries(REQUESTS)) {
  t.test(`a 101 to ${name} becomes a 502`, async (t) => {
    const vm = await scriptedVmFor(t, `${SWITCH}${VM_OK}`)
    const edge = await routedEdgeFor(t, vm.port)
    const answer = await edge.send(request)
    t.equal(answer.status, 502)
    t.match(JSON.parse(answer.body), { code: 'upstream_upgrade' })
    t.match(answer.headers['proxy-status'], /error=http_upgrade_failed/)
    await until(
      () => vm.sockets.every(({ readableEnded, destroyed }) => readableEnded || destroyed),
      'closed',
    )
    await edge.send(request)
    t.same(
      vm.requests.map(({ connection }) => connection),
      [0, 1],
      'the connection was not used again',
    )
    await edge.checkAlive()
  })
}

t.test('a 101 to a request over HTTP/2 becomes a 502', async (t) => {
  const vm = await scriptedVmFor(t, SWITCH)
  const edge = await routedEdgeFor(t, vm.port)
  const answer = await h2Exchange(await edge.openH2(), { ':path': '/', ':authority': HOST })
  t.equal(answer.status, 502)
  t.match(JSON.parse(answer.body), { code: 'upstream_upgrade' })
  await edge.checkAlive()
})

const WRONG_SWITCHES: Readonly<Record<string, (right: string) => string>> = {
  'of another protocol': (right) => right.replace('upgrade: websocket', 'upgrade: h2c'),
  'without Upgrade': (right) => right.replace('upgrade: websocket\r\n', ''),
  'without Connection': (right) => right.replace('connection: Upgrade\r\n', ''),
  'with a wrong key': (right) => right.replace(/accept: .*/, 'accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOx='),
  'without a key': (right) => right.replace(/sec-websocket-accept: .*\r\n/, ''),
}

for (const [name, spoil] of Object.entries(WRONG_SWITCHES)) {
  t.test(`a 101 ${name} to a WebSocket request becomes a 502`, async (t) => {
    const vm = await scriptedVmFor(t, (socket, { head }) => {
      socket.write(spoil(switchingProtocols(head)))
    })
    const edge = await routedEdgeFor(t, vm.port)
    const overH1 = await edge.send(upgradeRequest(HOST))
    t.equal(overH1.status, 502)
    t.match(JSON.parse(overH1.body), { code: 'upstream_upgrade' })
    const call = h2Call(await edge.openH2(), EXTENDED_CONNECT, { hasBody: true })
    await until(() => call.answer.body !== '' || call.stream.closed, 'an answer over HTTP/2')
    t.equal(call.answer.status, 502)
    await edge.checkAlive()
  })
}

const SMUGGLED = `GET /smuggled HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`

t.test('bytes behind an upgrade request never reach a VM that refuses it', async (t) => {
  const vm = await scriptedVmFor(t, VM_OK)
  const edge = await routedEdgeFor(t, vm.port)
  const answer = await edge.send(upgradeRequest(HOST) + SMUGGLED)
  t.match(answer, { status: 200, body: 'ok' })
  const line = await accessLineFor(edge, 1)
  t.match(line, { status: 200 })
  t.notMatch(vm.received.join(''), /smuggled/)
  t.equal(edge.accessLog.length, 1, 'nor were they taken for a request of the client')
})

t.test('bytes behind an upgrade request reach the VM once it has switched, not before', async (t) => {
  const before: string[] = []
  const vm = await scriptedVmFor(t, (socket, { head }) => {
    // Long enough for bytes that were sent too early to arrive.
    setTimeout(() => {
      before.push(vm.received[0] ?? '')
      socket.write(switchingProtocols(head))
    }, 200)
  })
  const edge = await routedEdgeFor(t, vm.port)
  const socket = await edge.open('plain')
  socket.write(upgradeRequest(HOST) + SMUGGLED)
  socket.write('more')
  await until(() => vm.received[0]?.endsWith(`${SMUGGLED}more`) === true, 'the bytes behind the upgrade')
  t.notMatch(before[0], /smuggled|more/)
})
