/** Where WebSocket frames end, however their bytes are cut into reads. */

import t from 'tap'
import { ACCESS_ENDED_FRAME, FrameEnds } from '../../proxy/websocket-frames.ts'
import { closeWith } from '../helpers/ws-frames.ts'

function frame(first: number, payloadBytes: number, { isLong = false, isMasked = false } = {}): Buffer {
  const mask = isMasked ? 0x80 : 0
  const payload = Buffer.alloc(payloadBytes + (isMasked ? 4 : 0), 0x88)
  if (isLong) {
    const head = Buffer.from([first, 127 | mask, 0, 0, 0, 0, 0, 0, 0, 0])
    head.writeBigUInt64BE(BigInt(payloadBytes), 2)
    return Buffer.concat([head, payload])
  }
  if (payloadBytes < 126) return Buffer.concat([Buffer.from([first, payloadBytes | mask]), payload])
  return Buffer.concat([Buffer.from([first, 126 | mask, payloadBytes >> 8, payloadBytes & 255]), payload])
}

const FRAMES = [
  frame(0x81, 0),
  frame(0x01, 5),
  frame(0x89, 125),
  frame(0x80, 126),
  frame(0x82, 65_535),
  frame(0x82, 300, { isLong: true }),
  frame(0x82, 0, { isLong: true }),
  frame(0x81, 7, { isMasked: true }),
  frame(0x81, 200, { isMasked: true }),
  frame(0x82, 70_000, { isLong: true, isMasked: true }),
  frame(0x81, 0, { isMasked: true }),
]
const STREAM = Buffer.concat(FRAMES)

/** Offsets in `STREAM` behind each frame. */
const ENDS = FRAMES.map((_, at) => Buffer.concat(FRAMES.slice(0, at + 1)).length)

function endsIn(reads: readonly Buffer[]): number[] {
  const frames = new FrameEnds()
  const ends: number[] = []
  let before = 0
  for (const read of reads) {
    for (let at = 0; at < read.length; ) {
      at = frames.next(read, at)
      if (frames.isBetween) ends.push(before + at)
    }
    before += read.length
  }
  return ends
}

t.test('finds the end of every frame in one read', async (t) => {
  t.same(endsIn([STREAM]), ENDS)
})

t.test('finds the same when every byte is a read of its own', async (t) => {
  t.same(endsIn([...STREAM].map((byte) => Buffer.from([byte]))), ENDS)
})

t.test('finds the same in reads of any size', async (t) => {
  for (const size of [2, 3, 7, 64, 1_000, 65_536]) {
    const reads: Buffer[] = []
    for (let at = 0; at < STREAM.length; at += size) reads.push(STREAM.subarray(at, at + size))
    t.same(endsIn(reads), ENDS, `${size} bytes`)
  }
})

t.test('is between frames before the first, and within one as soon as a byte of it came', async (t) => {
  const frames = new FrameEnds()
  t.ok(frames.isBetween)
  frames.skip(Buffer.alloc(0))
  t.ok(frames.isBetween)
  frames.skip(Buffer.from([0x81]))
  t.notOk(frames.isBetween)
  frames.skip(Buffer.from([2, 0x68]))
  t.notOk(frames.isBetween)
  frames.skip(Buffer.from([0x69]))
  t.ok(frames.isBetween)
})

t.test('sees a close frame, and none in a payload', async (t) => {
  const frames = new FrameEnds()
  frames.skip(STREAM)
  t.notOk(frames.hasClose)
  frames.skip(Buffer.from([0x88, 0]))
  t.ok(frames.hasClose)
})

t.test('the last word is one close frame of a server', async (t) => {
  t.same(ACCESS_ENDED_FRAME, Buffer.concat([Buffer.from([0x88, 14]), closeWith(4401, 'access ended')]))
})
