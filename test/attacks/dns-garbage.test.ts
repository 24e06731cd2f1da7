/**
 * The attack: bytes that are no DNS message, or nearly one, at the responder: names that point to themselves, counts that
 * claim 65,535 records, messages cut anywhere. Nothing may throw, hang or grow; the next honest question is answered.
 */

import { asyncProperty, constant, nat, oneof, tuple, uint8Array } from 'fast-check'
import t from 'tap'
import { createAnswerer } from '../../acme/dns/answerer.ts'
import { findTsigFault } from '../../acme/dns/tsig.ts'
import { parseMessage } from '../../acme/dns/wire.ts'
import { createZone } from '../../acme/dns/zone.ts'
import { fuzzFor } from '../helpers/fuzz.ts'
import { askOverTcp, askOverUdp, dig, responderFor, ZONE } from '../helpers/responder-scene.ts'

const fuzz = fuzzFor(t, { seconds: 4 })
const table = { ready: true, ageMs: 0, findTxt: (label: string) => (label === 'abc' ? ['x'.repeat(43)] : []) }
const answerer = createAnswerer(
  { zone: createZone({ table }, { zone: ZONE, names: ['ns.test'] }) },
  { zone: ZONE },
)
const KEY = { name: 'k', algorithm: 'hmac-sha256', secret: Buffer.alloc(32) } as const

/** `abc.acme.example.test TXT` with an OPT. */
const GOOD = Buffer.from(
  `000101000001000000000001${Buffer.from('\x03abc\x04acme\x07example\x04test\0', 'latin1').toString('hex')}001000010000290200000000000000`,
  'hex',
)

const damaged = tuple(nat(GOOD.length - 1), nat(255), nat(GOOD.length), uint8Array({ maxLength: 40 })).map(
  ([at, value, end, tail]) => {
    const bytes = Buffer.from(GOOD)
    bytes[at] = value
    return Buffer.concat([bytes.subarray(0, end), tail])
  },
)
const hostile = oneof(
  uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)),
  damaged,
  constant(GOOD),
)

t.test('whatever the bytes, there is silence or one whole message that belongs to them', async (t) => {
  const property = asyncProperty(hostile, async (query) => {
    for (const transport of ['udp', 'tcp'] as const) {
      const answer = answerer.answer(query, transport)
      if (answer === undefined) continue
      const parsed = parseMessage(answer, { entries: 200 })
      if (parsed === undefined) throw new Error('the answer is no message')
      if (parsed.id !== query.readUInt16BE(0)) throw new Error('the answer is for another question')
      if ((parsed.flags & 0x8000) === 0) throw new Error('the answer is a question')
      if (transport === 'udp' && answer.length > 1_232) throw new Error('the answer is too long')
    }
    const cut = answerer.truncate(query)
    if (cut && cut.length > query.length) throw new Error('the cut answer is longer than the question')
  })
  await fuzz.holds(t, property, 0.7)
})

t.test('whatever the bytes, no signature is found right', async (t) => {
  const property = asyncProperty(hostile, async (answer) => {
    const fault = findTsigFault(answer, KEY, { requestMac: Buffer.alloc(32), now: 0 })
    if (fault === undefined) throw new Error('believed')
  })
  await fuzz.holds(t, property, 0.3)
})

t.test('long chains of pointers and large claims cost nothing', async (t) => {
  const claims = Buffer.alloc(12, 0xff)
  claims.writeUInt16BE(0, 2)
  const chain = Buffer.alloc(65_535)
  chain.writeUInt16BE(1, 4)
  chain.writeUInt16BE(64, 10)
  for (let at = 14; at + 2 <= chain.length; at += 2)
    chain.writeUInt16BE(0xc000 | Math.min(at - 2, 0x3fff), at)
  const before = process.threadCpuUsage()
  for (let round = 0; round < 2_000; round++) {
    answerer.answer(claims, 'udp')
    parseMessage(chain, { entries: 200 })
  }
  const microseconds = process.threadCpuUsage(before).user / 4_000
  t.comment(`${microseconds.toFixed(1)} µs each`)
  t.ok(microseconds < 100)
})

t.test('the listeners go on after garbage', async (t) => {
  const { port, values, warnings } = await responderFor(t)
  values.set('abc', ['one'])
  const pieces = [
    Buffer.alloc(0),
    Buffer.alloc(1),
    Buffer.alloc(12, 0xff),
    Buffer.alloc(2_000, 0xc0),
    GOOD.subarray(0, 20),
  ]
  t.equal((await askOverUdp(port, ...pieces))?.length, 12, 'FORMERR for the one that has a question bit')
  for (const piece of pieces)
    await askOverTcp(port, Buffer.concat([Buffer.from([0, piece.length & 255]), piece]))
  for (const transport of ['+notcp', '+tcp'])
    t.match(await dig(port, `abc.${ZONE}`, 'TXT', transport), /"one"/)
  t.strictSame(warnings, [])
})
