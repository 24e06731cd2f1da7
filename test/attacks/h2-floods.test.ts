/**
 * The attacker floods one HTTP/2 connection with frames that cost it nothing: streams opened and reset (CVE-2023-44487),
 * CONTINUATION without end (CVE-2024-27316), pings, settings, empty data, windows that overflow, headers that unpack to
 * megabytes. The connection is ended or held within bounds; others are served meanwhile; nothing is left behind.
 */

import t, { type Test } from 'tap'
import { APP, type AttackedEdge, attackedEdgeFor, serves } from '../helpers/attacked-edge.ts'
import { openSockets } from '../helpers/edge-gauges.ts'
import { encodeFields, encodeFrame, FLAG, FRAME, H2Wire, requestFields, uint32 } from '../helpers/h2-wire.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { until } from '../helpers/until.ts'

const HEAD_ONLY = FLAG.endHeaders | FLAG.endStream
const CANCEL = 8
const NOTHING = Buffer.alloc(0)
const FIELDS = encodeFields(requestFields(APP, '/flood'))

async function wireFor(edge: AttackedEdge): Promise<H2Wire> {
  return new H2Wire(await edge.dial(APP, { alpn: ['h2'] })).start()
}

/** Passes when others are served during the flood and nothing of the flooder is left once it is gone. */
async function leavesNothing(t: Test, edge: AttackedEdge, wire: H2Wire): Promise<void> {
  await serves(t, edge)
  wire.socket.destroy()
  await until(async () => (await openSockets(edge)).clients === 0, 'the client connections closed', 3_000)
  // The VM's own keep-alive connections may stay for a while; none is in use any more.
  await until(async () => (await openSockets(edge)).upstreams <= 1, 'the upstream connections given up')
  await serves(t, edge)
}

t.test('bears streams that are opened and reset at once', async (t) => {
  const edge = await attackedEdgeFor(t)
  const silent = await rawOriginFor(t, () => {})
  await edge.route('silent.localhost', silent.port)
  const wire = await new H2Wire(await edge.dial('silent.localhost', { alpn: ['h2'] })).start()
  const fields = encodeFields(requestFields('silent.localhost', '/flood'))
  const rounds = 5_000
  for (let at = 0; at < rounds && !wire.isOver; at += 1) {
    const stream = 1 + at * 2
    wire.socket.write(
      Buffer.concat([
        encodeFrame({ type: FRAME.headers, flags: HEAD_ONLY, stream, payload: fields }),
        encodeFrame({ type: FRAME.reset, flags: 0, stream, payload: uint32(CANCEL) }),
      ]),
    )
    if (at % 100 === 0) await new Promise(setImmediate)
  }
  await until(() => wire.isOver, 'the end of the flooding connection')
  t.ok(silent.sockets.length < rounds, `${silent.sockets.length} of ${rounds} requests came to the VM`)
  await until(
    () => silent.sockets.every((socket) => socket.readableEnded || socket.destroyed),
    'the VM let go',
  )
  await leavesNothing(t, edge, wire)
})

t.test('ends a header block of CONTINUATION frames without end', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const payload of [
    NOTHING,
    encodeFields([['x-a', 'b']]),
    encodeFields([['x-a', 'b'.repeat(16_000)]]),
  ]) {
    const wire = await wireFor(edge)
    wire.send(FRAME.headers, FLAG.endStream, 1, FIELDS)
    for (let at = 0; at < 10_000 && !wire.isOver; at += 1) {
      wire.send(FRAME.continuation, 0, 1, payload)
      if (at % 50 === 0) await new Promise(setImmediate)
    }
    await until(() => wire.isOver, 'the end of the flooding connection')
    await leavesNothing(t, edge, wire)
  }
  t.notMatch(edge.requestLines().join('\n'), /flood/)
})

/** RFC 7541: one entry of 4,000 bytes goes into the table, then each byte of the block repeats it. */
function headerBomb(): Buffer {
  const value = 'a'.repeat(3_900)
  const [literal = 0, ...rest] = encodeFields([['x-a', value]])
  const indexed = Buffer.from([literal | 0x40, ...rest])
  return Buffer.concat([FIELDS, indexed, Buffer.alloc(10_000, 0x80 | 62)])
}

t.test('does not unpack a header block of 14 KB to 39 MB', async (t) => {
  const edge = await attackedEdgeFor(t)
  const wire = await wireFor(edge)
  const before = process.memoryUsage().rss
  for (let at = 0; at < 20; at += 1) wire.send(FRAME.headers, HEAD_ONLY, 1 + at * 2, headerBomb())
  await until(() => wire.isOver || wire.isSettled(39), 'an end of the last stream')
  const grownBytes = process.memoryUsage().rss - before
  t.ok(grownBytes < 200_000_000, `grew by ${grownBytes}`)
  await leavesNothing(t, edge, wire)
  t.notMatch(edge.requestLines().join('\n'), /flood/)
})

const SETTINGS_TABLE = Buffer.concat([Buffer.from([0, 1]), uint32(0)])

/** Frames to be repeated, and whether the connection must end over them. */
const FLOODS: readonly (readonly [string, boolean, () => Buffer])[] = [
  ['pings', false, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8))],
  ['settings', false, () => frame(FRAME.settings, 0, 0, SETTINGS_TABLE)],
  ['empty data on one stream', false, () => frame(FRAME.data, 0, 1, NOTHING)],
  ['frames of an unknown type', false, () => frame(0x77, 0, 0, Buffer.alloc(100))],
  ['priorities', false, () => frame(FRAME.priority, 0, 1, Buffer.from([0, 0, 0, 3, 1]))],
  ['windows of one byte', false, () => frame(FRAME.windowUpdate, 0, 0, uint32(1))],
  ['resets of streams that never were', true, () => frame(FRAME.reset, 0, 99_999, uint32(CANCEL))],
  ['data on streams that never were', true, () => frame(FRAME.data, 0, 99_999, Buffer.alloc(10))],
  ['push promises', true, () => frame(FRAME.push, FLAG.endHeaders, 1, Buffer.alloc(8))],
  ['a window that overflows', true, () => frame(FRAME.windowUpdate, 0, 0, uint32(0x7fffffff))],
  ['a window of nothing', true, () => frame(FRAME.windowUpdate, 0, 0, uint32(0))],
  ['a continuation of nothing', true, () => frame(FRAME.continuation, 0, 1, FIELDS)],
  ['settings of a wrong length', true, () => frame(FRAME.settings, 0, 0, Buffer.alloc(5))],
  ['a frame that is too large', true, () => frame(FRAME.data, 0, 1, Buffer.alloc(20_000))],
  ['headers on an even stream', true, () => frame(FRAME.headers, HEAD_ONLY, 2, FIELDS)],
  ['headers on stream 0', true, () => frame(FRAME.headers, HEAD_ONLY, 0, FIELDS)],
  [
    'an index beyond the table',
    true,
    () => frame(FRAME.headers, HEAD_ONLY, 3, Buffer.from([0xff, 0xff, 0x7f])),
  ],
  ['garbage', true, () => Buffer.alloc(1_000, 0xaa)],
]

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  return encodeFrame({ type, flags, stream, payload })
}

t.test('bears or ends floods of every kind of frame', async (t) => {
  for (const [what, mustEnd, makeFrame] of FLOODS) {
    await t.test(what, async (t) => {
      const edge = await attackedEdgeFor(t)
      const wire = await wireFor(edge)
      // An open upload, so that stream 1 exists.
      wire.send(
        FRAME.headers,
        FLAG.endHeaders,
        1,
        encodeFields(requestFields(APP, '/upload', [[':method', 'POST']])),
      )
      const batch = Buffer.concat(Array.from({ length: 500 }, makeFrame))
      for (let at = 0; at < 20 && !wire.isOver; at += 1) {
        wire.socket.write(batch)
        await new Promise(setImmediate)
      }
      if (mustEnd) await until(() => wire.isOver, 'the end of the flooding connection')
      await leavesNothing(t, edge, wire)
    })
  }
})

t.test('ends a connection that asks for answers and never reads them', async (t) => {
  const edge = await attackedEdgeFor(t)
  const wire = await wireFor(edge)
  wire.socket.pause()
  const batch = Buffer.concat(Array.from({ length: 2_000 }, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8))))
  const before = process.memoryUsage().rss
  for (let at = 0; at < 500 && !wire.socket.destroyed && wire.socket.writable; at += 1) {
    if (wire.socket.writableLength < 4_000_000) wire.socket.write(batch)
    await new Promise(setImmediate)
  }
  const grownBytes = process.memoryUsage().rss - before
  t.ok(grownBytes < 200_000_000, `grew by ${grownBytes}`)
  await leavesNothing(t, edge, wire)
})
