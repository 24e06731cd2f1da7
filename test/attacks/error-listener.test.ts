/**
 * The attacker has both ends of a connection fail at once: a client and a VM that reset their sides together. A proxy with
 * one error listener too few dies of it, one with two reports it twice. Each exchange must end once: one line in the
 * access log, one count in the metrics, no error of the edge's own.
 */

import type { Socket } from 'node:net'
import t from 'tap'
import { h2Call } from '../helpers/h2-client.ts'
import { EXTENDED_CONNECT, HOST, type RoutedEdge, routedEdgeFor } from '../helpers/routed-edge.ts'
import { type ScriptedVm, scriptedVmFor, switchingProtocols, upgradeRequest } from '../helpers/scripted-vm.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const ROUNDS = 20

interface Round {
  readonly client: Socket
  readonly vm: Socket
}

const FAILURES: Readonly<Record<string, (round: Round) => void>> = {
  'both reset, client first': ({ client, vm }) => {
    client.resetAndDestroy()
    vm.resetAndDestroy()
  },
  'both reset, VM first': ({ client, vm }) => {
    vm.resetAndDestroy()
    client.resetAndDestroy()
  },
  'the client resets while the VM floods it': ({ client, vm }) => {
    vm.write(Buffer.alloc(4_194_304))
    client.resetAndDestroy()
  },
  'the VM resets while the client floods it': ({ client, vm }) => {
    client.write(Buffer.alloc(4_194_304))
    vm.resetAndDestroy()
  },
  'both end': ({ client, vm }) => {
    vm.end()
    client.end()
  },
  'both end and close at once': ({ client, vm }) => {
    vm.end()
    client.end()
    client.destroy()
    vm.destroy()
  },
}

/** Runs the same failure on many exchanges at once, each in the state that `opening` brings it to. */
async function failMany(
  edge: RoutedEdge,
  vm: ScriptedVm,
  { request, opened, fail }: { request: string; opened: string; fail: (round: Round) => void },
): Promise<void> {
  const clients: Socket[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    const client = await edge.open('plain')
    const got = transcriptOf(client)
    client.write(request)
    await until(() => vm.requests.length === round + 1, 'the VM sees the request')
    await got.has(opened)
    clients.push(client)
  }
  for (const [at, client] of clients.entries()) {
    const upstream = vm.sockets[at]
    if (upstream !== undefined) fail({ client, vm: upstream })
  }
}

async function checkEndedOnce(
  edge: RoutedEdge,
): Promise<{ readonly lines: number; readonly counted: number }> {
  await until(() => edge.accessLog.length >= ROUNDS, `${ROUNDS} lines`)
  // A second line would come with the second error, and that with the 'close' of a socket.
  await until(
    async () => (await countOf(edge, /^edge_sockets_open\{side="upstream"\} (\d+)/m)) === 0,
    'all closed',
  )
  await edge.checkAlive()
  const counted = await countOf(edge, /^edge_http_request_duration_seconds_count (\d+)/m)
  const own = edge.accessLog.filter((line) => (line.request as { uri: string }).uri.startsWith('/.landfall'))
  return { lines: edge.accessLog.length - own.length, counted: counted - own.length }
}

async function countOf(edge: RoutedEdge, pattern: RegExp): Promise<number> {
  const metrics = await (await fetch(`http://127.0.0.1:${edge.opsPort}/metrics`)).text()
  return Number(pattern.exec(metrics)?.[1] ?? Number.NaN)
}

for (const [name, fail] of Object.entries(FAILURES)) {
  t.test(`open WebSockets end once when ${name}`, async (t) => {
    const vm = await scriptedVmFor(t, (socket, { head }) => void socket.write(switchingProtocols(head)))
    const edge = await routedEdgeFor(t, vm.port)
    await failMany(edge, vm, { request: upgradeRequest(HOST), opened: '101', fail })
    t.same(await checkEndedOnce(edge), { lines: ROUNDS, counted: ROUNDS })
  })

  t.test(`WebSockets that the VM has not answered end once when ${name}`, async (t) => {
    const vm = await scriptedVmFor(t, () => {})
    const edge = await routedEdgeFor(t, vm.port)
    await failMany(edge, vm, { request: upgradeRequest(HOST), opened: '', fail })
    t.same(await checkEndedOnce(edge), { lines: ROUNDS, counted: ROUNDS })
  })

  t.test(`answers under way end once when ${name}`, async (t) => {
    const vm = await scriptedVmFor(t, 'HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\npart')
    const edge = await routedEdgeFor(t, vm.port)
    await failMany(edge, vm, { request: `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, opened: 'part', fail })
    t.same(await checkEndedOnce(edge), { lines: ROUNDS, counted: ROUNDS })
  })
}

t.test('streams of HTTP/2 end once when the session and the VM go at the same time', async (t) => {
  const vm = await scriptedVmFor(t, (socket, { head }) => {
    if (head.includes('/ws')) socket.write(switchingProtocols(head))
    else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\npart')
  })
  const edge = await routedEdgeFor(t, vm.port)
  const session = await edge.openH2()
  session.on('error', () => {})
  for (let round = 0; round < ROUNDS / 2; round += 1) {
    h2Call(session, { ':path': '/', ':authority': HOST })
    h2Call(session, { ...EXTENDED_CONNECT, ':path': '/ws' }, { hasBody: true })
  }
  await until(() => vm.requests.length === ROUNDS, 'all streams are open')
  session.destroy()
  for (const socket of vm.sockets) socket.resetAndDestroy()
  t.same(await checkEndedOnce(edge), { lines: ROUNDS, counted: ROUNDS })
})
