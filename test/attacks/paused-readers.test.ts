/**
 * The attacker asks for something large and then does not read, on many connections. A naive proxy takes the whole
 * answer from the VM into its memory (defect 16: 216 MiB for one client) and waits for ever. Here the VM is held back,
 * the edge's memory stays flat, and after LANDFALL_IDLE_TIMEOUT_MS without progress the connection is cut.
 */

import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { type AttackedEdge, attackedEdgeFor, serves } from '../helpers/attacked-edge.ts'
import { openSockets } from '../helpers/edge-gauges.ts'
import { encodeFields, FLAG, FRAME, H2Wire, requestFields } from '../helpers/h2-wire.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { until } from '../helpers/until.ts'

const LARGE = 'large.localhost'
const ONE_GIB = 1_073_741_824
const SHORT = { LANDFALL_IDLE_TIMEOUT_MS: '500', LANDFALL_KEEP_ALIVE_TIMEOUT_MS: '500' }
const HEAD_ONLY = FLAG.endHeaders | FLAG.endStream
const get = (size: number) => `GET /${size} HTTP/1.1\r\nHost: ${LARGE}\r\n\r\n`

/** A VM that answers with as many bytes as the path says, as fast as they are taken, and counts them. */
async function largeVmFor(t: Test, edge: AttackedEdge) {
  let taken = 0
  const chunk = Buffer.alloc(65_536, 'x')
  const vm = await rawOriginFor(t, (socket, received) => {
    let left = Number(/^GET \/(\d+)/.exec(received)?.[1] ?? 0)
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${left}\r\nConnection: close\r\n\r\n`)
    const pump = () => {
      let hasRoom = true
      while (hasRoom && left > 0) {
        const part = chunk.subarray(0, Math.min(left, chunk.length))
        left -= part.length
        hasRoom = socket.write(part, () => {
          taken += part.length
        })
      }
    }
    socket.on('drain', pump)
    pump()
  })
  await edge.route(LARGE, vm.port)
  return { vm, takenBytes: () => taken }
}

/** Waits until the VM's side has stood still for a while. */
async function stands(takenBytes: () => number): Promise<void> {
  let last = -1
  let since = 0
  await until(() => {
    const now = performance.now()
    if (takenBytes() !== last) since = now
    last = takenBytes()
    return now - since > 300
  }, 'the VM held back')
}

async function pausedReader(edge: AttackedEdge, size: number): Promise<Socket> {
  const socket = await edge.dialPlain()
  socket.pause()
  socket.write(get(size))
  return socket
}

t.test('holds the VM back for a client that does not read, over HTTP/1.1', async (t) => {
  const edge = await attackedEdgeFor(t)
  const { takenBytes } = await largeVmFor(t, edge)
  const before = process.memoryUsage().rss
  for (let at = 0; at < 10; at += 1) await pausedReader(edge, ONE_GIB)
  await stands(takenBytes)
  const grownBytes = process.memoryUsage().rss - before
  // Ten times the kernel's buffers on both sides of the edge, at most some 6 MB each.
  t.ok(takenBytes() < 10 * 20_000_000, `the VM was read up to ${takenBytes()}`)
  t.ok(grownBytes < 100_000_000, `grew by ${grownBytes}`)
  await serves(t, edge)
})

t.test('holds the VM back for a client that gives no window, over HTTP/2', async (t) => {
  const edge = await attackedEdgeFor(t)
  const { takenBytes } = await largeVmFor(t, edge)
  const wire = await new H2Wire(await edge.dial(LARGE, { alpn: ['h2'] })).start()
  const before = process.memoryUsage().rss
  for (let at = 0; at < 20; at += 1) {
    wire.send(FRAME.headers, HEAD_ONLY, 1 + at * 2, encodeFields(requestFields(LARGE, `/${ONE_GIB}`)))
  }
  await stands(takenBytes)
  const grownBytes = process.memoryUsage().rss - before
  t.ok(takenBytes() < 20 * 20_000_000, `the VM was read up to ${takenBytes()}`)
  t.ok(grownBytes < 100_000_000, `grew by ${grownBytes}`)
  await serves(t, edge)
})

t.test('cuts a client that does not read once the idle limit is over, and lets go of the VM', async (t) => {
  const edge = await attackedEdgeFor(t, { LANDFALL_IDLE_TIMEOUT_MS: '500' })
  const { vm } = await largeVmFor(t, edge)
  for (let at = 0; at < 5; at += 1) await pausedReader(edge, ONE_GIB)
  await until(
    () => vm.sockets.length === 5 && vm.sockets.every((socket) => socket.destroyed),
    'the VM let go',
  )
  await until(async () => (await openSockets(edge)).clients === 0, 'the clients cut')
  t.same(
    edge.accessLog.map((line) => line.close_reason),
    Array(5).fill('client_stalled'),
  )
})

// The VM is done and gone, and the rest waits in the edge: nobody but the edge can notice now.
t.test('cuts a client that leaves the end of an answer unread, over HTTP/2', async (t) => {
  const edge = await attackedEdgeFor(t, {
    LANDFALL_IDLE_TIMEOUT_MS: '500',
    LANDFALL_KEEP_ALIVE_TIMEOUT_MS: '500',
  })
  await largeVmFor(t, edge)
  const wire = await new H2Wire(await edge.dial(LARGE, { alpn: ['h2'] })).start()
  wire.send(FRAME.headers, HEAD_ONLY, 1, encodeFields(requestFields(LARGE, '/70000')))
  await until(() => wire.body(1).length === 65_535, 'the window is used up')
  await until(() => wire.isOver || wire.resetCode(1) !== undefined, 'the stream is given up', 5_000)
  t.pass('it is given up')
})

/** The largest answer, to within 16 KiB, of which the edge takes the end although its client reads nothing. */
async function findLargestTaken(edge: AttackedEdge): Promise<number> {
  let taken = 65_536
  let refused = 32_000_000
  while (refused - taken > 16_384) {
    const size = Math.floor((taken + refused) / 2)
    const seen = edge.accessLog.length
    const socket = await pausedReader(edge, size)
    const deadline = performance.now() + 250
    while (edge.accessLog.length === seen && performance.now() < deadline) await new Promise(setImmediate)
    if (edge.accessLog.length > seen) taken = size
    else refused = size
    socket.destroy()
    await until(() => edge.accessLog.length > seen, 'the end of the exchange')
  }
  return taken
}

t.test('cuts a client that leaves the end of an answer unread, over HTTP/1.1', async (t) => {
  const patient = await attackedEdgeFor(t)
  await largeVmFor(t, patient)
  const largest = await findLargestTaken(patient)
  const edge = await attackedEdgeFor(t, SHORT)
  await largeVmFor(t, edge)
  // Around this size the kernel's buffers are full and the last bytes wait in the edge, the VM being done.
  for (let off = -20; off <= 20; off += 1) await pausedReader(edge, largest + off * 16_384)
  await until(async () => (await openSockets(edge)).clients === 0, 'all clients cut', 6_000)
  t.pass('all are given up')
})

t.test('leaves a slow reader alone that goes on reading', async (t) => {
  const edge = await attackedEdgeFor(t, { LANDFALL_IDLE_TIMEOUT_MS: '1500' })
  const size = 30_000_000
  await largeVmFor(t, edge)
  const socket = await edge.dialPlain()
  let read = 0
  socket.on('data', (chunk: Buffer) => {
    read += chunk.length
    socket.pause()
  })
  socket.write(get(size))
  const timer = setInterval(() => socket.resume(), 5)
  t.teardown(() => clearInterval(timer))
  await until(() => read > size || socket.destroyed, 'the whole answer', 20_000)
  t.ok(read > size, `${read} bytes were read`)
})
