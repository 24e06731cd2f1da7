/**
 * The attacker asks for WebSockets and leaves before the VM has answered, again and again. A naive proxy keeps each
 * connection to the VM open, until the VM or the edge has none left. The VM's connection must be closed within a second.
 */

import type { Socket } from 'node:net'
import t from 'tap'
import { h2Call } from '../helpers/h2-client.ts'
import {
  accessLineFor,
  EXTENDED_CONNECT,
  HOST,
  type RoutedEdge,
  routedEdgeFor,
} from '../helpers/routed-edge.ts'
import { type ScriptedVm, scriptedVmFor, switchingProtocols, upgradeRequest } from '../helpers/scripted-vm.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

/** The issue says a second; the rest is the machine's. */
const DEADLINE_MS = 2_000

const silent = () => {}

async function checkClosed(vm: ScriptedVm, edge: RoutedEdge): Promise<void> {
  await until(
    () => vm.sockets.every(({ readableEnded, destroyed }) => readableEnded || destroyed),
    'the connection to the VM is closed',
    DEADLINE_MS,
  )
  await accessLineFor(edge, 1)
}

const LEAVINGS: Readonly<Record<string, (socket: Socket) => void>> = {
  'closes its connection': (socket) => socket.destroy(),
  'resets its connection': (socket) => socket.resetAndDestroy(),
  'ends its side': (socket) => socket.end(),
}

for (const way of ['plain', 'tls'] as const) {
  for (const [name, leave] of Object.entries(LEAVINGS)) {
    // A reset of the TCP connection cannot be asked of a TLS socket.
    if (way === 'tls' && name.startsWith('resets')) continue

    t.test(`the VM's connection is closed when a client ${name} over ${way}`, async (t) => {
      const vm = await scriptedVmFor(t, silent)
      const edge = await routedEdgeFor(t, vm.port)
      const socket = await edge.open(way)
      socket.write(upgradeRequest(HOST))
      await until(() => vm.requests.length === 1, 'the VM sees the upgrade')
      leave(socket)
      await checkClosed(vm, edge)
      t.match(edge.accessLog, [{ close_reason: 'client_gone' }])
    })

    t.test(`… also when it had sent bytes behind its request over ${way}, and then ${name}`, async (t) => {
      const vm = await scriptedVmFor(t, silent)
      const edge = await routedEdgeFor(t, vm.port)
      const socket = await edge.open(way)
      socket.write(upgradeRequest(HOST))
      await until(() => vm.requests.length === 1, 'the VM sees the upgrade')
      await new Promise((resolve) => socket.write('early bytes of a WebSocket', resolve))
      leave(socket)
      await checkClosed(vm, edge)
      t.match(edge.accessLog, [{ close_reason: 'client_gone' }])
      t.notMatch(vm.received[0], /early/)
    })
  }
}

t.test("the VM's connection is closed when a client resets its stream over HTTP/2", async (t) => {
  const vm = await scriptedVmFor(t, silent)
  const edge = await routedEdgeFor(t, vm.port)
  const call = h2Call(await edge.openH2(), EXTENDED_CONNECT, { hasBody: true })
  await until(() => vm.requests.length === 1, 'the VM sees the upgrade')
  call.stream.close(8)
  await checkClosed(vm, edge)
  t.pass('closed')
})

t.test("the VM's connection is closed when a client closes its session over HTTP/2", async (t) => {
  const vm = await scriptedVmFor(t, silent)
  const edge = await routedEdgeFor(t, vm.port)
  const session = await edge.openH2()
  h2Call(session, EXTENDED_CONNECT, { hasBody: true })
  await until(() => vm.requests.length === 1, 'the VM sees the upgrade')
  session.destroy()
  await checkClosed(vm, edge)
  t.pass('closed')
})

for (const side of ['client', 'VM'] as const) {
  t.test(`when the ${side} is gone from an open WebSocket, the other side is closed`, async (t) => {
    const vm = await scriptedVmFor(t, (socket, { head }) => {
      socket.write(switchingProtocols(head))
    })
    const edge = await routedEdgeFor(t, vm.port)
    const socket = await edge.open('plain')
    const got = transcriptOf(socket)
    socket.write(upgradeRequest(HOST))
    await got.has('101')
    if (side === 'client') socket.resetAndDestroy()
    else vm.sockets[0]?.resetAndDestroy()
    if (side === 'client') await checkClosed(vm, edge)
    else await got.ends(DEADLINE_MS)
    t.match(await accessLineFor(edge, 1), { status: 101 })
  })
}
