/**
 * The attacker sends requests by the hundred and leaves at once: by FIN, by reset, in the middle of a body, over both
 * versions of HTTP. A naive proxy keeps the VM busy with answers that nobody reads and keeps sockets of clients that
 * are gone. Within a second the VM is let go, and the edge holds no connection for it.
 */

import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { APP, type AttackedEdge, attackedEdgeFor, serves } from '../helpers/attacked-edge.ts'
import { openSockets } from '../helpers/edge-gauges.ts'
import { encodeFields, FLAG, FRAME, H2Wire, requestFields } from '../helpers/h2-wire.ts'
import { type RawOrigin, rawOriginFor } from '../helpers/origin.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { until } from '../helpers/until.ts'

const SILENT = 'silent.localhost'
const HEAD_ONLY = FLAG.endHeaders | FLAG.endStream
/** "Within a second", with room for a busy machine. */
const DEADLINE_MS = 2_000

async function silentVmFor(t: Test, edge: AttackedEdge): Promise<RawOrigin> {
  const vm = await rawOriginFor(t, () => {})
  await edge.route(SILENT, vm.port)
  return vm
}

async function h2For(edge: AttackedEdge, host: string): Promise<H2Wire> {
  return new H2Wire(await edge.dial(host, { alpn: ['h2'] })).start()
}

async function holdsNothing(edge: AttackedEdge): Promise<void> {
  await until(async () => (await openSockets(edge)).clients === 0, 'no client connection left', DEADLINE_MS)
}

function isLetGo({ sockets }: RawOrigin): boolean {
  return sockets.every((socket) => socket.readableEnded || socket.destroyed)
}

t.test('lets go of an HTTP/2 connection that its client has closed', async (t) => {
  const edge = await attackedEdgeFor(t)
  const idle = await h2For(edge, APP)
  idle.socket.end()
  await holdsNothing(edge)
  const used = await h2For(edge, APP)
  used.send(FRAME.headers, HEAD_ONLY, 1, encodeFields(requestFields(APP, '/good')))
  await until(() => used.body(1) === 'ok', 'an answer')
  used.socket.end()
  await holdsNothing(edge)
  t.pass('nothing is left')
})

t.test('lets go of the VM when an HTTP/2 client closes while it waits', async (t) => {
  const edge = await attackedEdgeFor(t)
  const vm = await silentVmFor(t, edge)
  const wire = await h2For(edge, SILENT)
  for (const stream of [1, 3, 5]) {
    wire.send(FRAME.headers, HEAD_ONLY, stream, encodeFields(requestFields(SILENT, '/wait')))
  }
  await until(() => vm.received.filter((text) => text !== '').length === 3, 'three requests at the VM')
  wire.socket.end()
  await until(() => isLetGo(vm), 'the VM let go', DEADLINE_MS)
  await holdsNothing(edge)
  t.same(
    edge.accessLog.map((line) => line.close_reason),
    ['client_gone', 'client_gone', 'client_gone'],
  )
})

const REQUESTS: readonly (readonly [string, string])[] = [
  ['a GET', `GET /wait HTTP/1.1\r\nHost: ${SILENT}\r\n\r\n`],
  [
    'a POST in the middle of its body',
    `POST /wait HTTP/1.1\r\nHost: ${SILENT}\r\nContent-Length: 9\r\n\r\nhe`,
  ],
  [
    'a chunked POST in the middle of a chunk',
    `POST /wait HTTP/1.1\r\nHost: ${SILENT}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe`,
  ],
  [
    'a POST that waits for 100',
    `POST /wait HTTP/1.1\r\nHost: ${SILENT}\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n`,
  ],
]

t.test('bears hundreds of clients that leave at once, and frees everything', async (t) => {
  const edge = await attackedEdgeFor(t)
  const vm = await silentVmFor(t, edge)
  const leave: readonly (readonly [string, (socket: Socket) => void])[] = [
    ['a reset', (socket) => socket.resetAndDestroy()],
    ['a close', (socket) => socket.destroy()],
    ['a polite end', (socket) => socket.end()],
  ]
  for (const [what, request] of REQUESTS) {
    for (const [how, go] of leave) {
      await t.test(`${what}, then ${how}`, async (t) => {
        for (let at = 0; at < 40; at += 1) {
          const socket = await edge.dialPlain()
          socket.write(request)
          if (at % 2 === 0) await new Promise(setImmediate)
          go(socket)
        }
        await until(() => isLetGo(vm), 'the VM let go', DEADLINE_MS)
        await holdsNothing(edge)
        await serves(t, edge)
        await holdsNothing(edge)
      })
    }
  }
  await until(async () => (await openSockets(edge)).upstreams <= 1, 'no upstream connection in use')
})

t.test('bears clients that leave in the middle of a large answer', async (t) => {
  const edge = await attackedEdgeFor(t)
  const endless = await rawOriginFor(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    const chunk = Buffer.from(`10000\r\n${'x'.repeat(65_536)}\r\n`)
    const pump = () => {
      while (socket.writable && socket.write(chunk));
    }
    socket.on('drain', pump)
    pump()
  })
  await edge.route('endless.localhost', endless.port)
  for (let at = 0; at < 20; at += 1) {
    const socket = await edge.dialPlain()
    await exchange(
      socket,
      'GET / HTTP/1.1\r\nHost: endless.localhost\r\n\r\n',
      (text) => text.length > 100_000,
    )
    if (at % 2 === 0) socket.resetAndDestroy()
    else socket.destroy()
  }
  await until(() => endless.sockets.every((socket) => socket.destroyed), 'the VM let go', DEADLINE_MS)
  await holdsNothing(edge)
  const last = await edge.dialPlain()
  t.equal((await exchange(last, `GET /good HTTP/1.1\r\nHost: ${APP}\r\n\r\n`, isWhole)).status, 200)
})
