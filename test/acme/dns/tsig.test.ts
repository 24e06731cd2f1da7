/** Signatures of answers: only a whole, right, timely one by the same key over this very answer is believed. */

import { createHmac } from 'node:crypto'
import t from 'tap'
import { findTsigFault, signMessage, type TsigKey } from '../../../acme/dns/tsig.ts'

const NOW = Date.UTC(2030, 0, 1)
const KEY: TsigKey = { name: 'Landfall.Key', algorithm: 'hmac-sha256', secret: Buffer.alloc(32, 9) }
const KEY_NAME = Buffer.from('\x08landfall\x03key\0', 'latin1')
const ALGORITHM = Buffer.from('\x0bhmac-sha256\0', 'latin1')
const REQUEST = Buffer.from('123428000000000000000000', 'hex')
const ANSWER = Buffer.from('1234a8000000000000000000', 'hex')

interface Change {
  readonly name?: Buffer
  readonly algorithm?: Buffer
  readonly timeS?: number
  readonly error?: number
  readonly other?: Buffer
  readonly secret?: Buffer
  readonly shorten?: number
  readonly originalId?: number
  readonly tail?: Buffer
}

/** The server's side, written from RFC 8945 section 4.3 and nothing else. */
function answerWith(requestMac: Buffer, change: Change = {}): Buffer {
  const {
    name = KEY_NAME,
    algorithm = ALGORITHM,
    timeS = NOW / 1_000,
    error = 0,
    other = Buffer.alloc(0),
  } = change
  const { secret = KEY.secret, shorten = 0, originalId = 0x1234, tail = Buffer.alloc(0) } = change
  const time = Buffer.alloc(8)
  time.writeUIntBE(timeS, 0, 6)
  time.writeUInt16BE(300, 6)
  const tailFields = Buffer.concat([word(error), word(other.length), other])
  const variables = Buffer.concat([name, Buffer.from('00ff00000000', 'hex'), algorithm, time, tailFields])
  const mac = createHmac('sha256', secret)
    .update(Buffer.concat([word(requestMac.length), requestMac, ANSWER, variables]))
    .digest()
    .subarray(0, 32 - shorten)
  const data = Buffer.concat([algorithm, time, word(mac.length), mac, word(originalId), tailFields, tail])
  const head = Buffer.from(ANSWER)
  head.writeUInt16BE(1, 10)
  return Buffer.concat([head, name, Buffer.from('00fa00ff00000000', 'hex'), word(data.length), data])
}

function word(number: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(number, 0)
  return bytes
}

t.test('what is signed has one record more, and its number in it', async (t) => {
  const { bytes, mac } = signMessage(REQUEST, KEY, { now: NOW })
  t.equal(bytes.readUInt16BE(10), 1)
  t.equal(mac.length, 32)
  t.ok(bytes.includes(mac))
  t.equal(REQUEST.readUInt16BE(10), 0, 'the message itself stays')
})

t.test('believes the right signature and no other', async (t) => {
  const { mac } = signMessage(REQUEST, KEY, { now: NOW })
  const faultOf = (answer: Buffer, now = NOW) => findTsigFault(answer, KEY, { requestMac: mac, now })
  t.equal(faultOf(answerWith(mac)), undefined)
  const forwarded = answerWith(mac)
  forwarded.writeUInt16BE(0x4321, 0)
  t.equal(faultOf(forwarded), undefined, 'a forwarder may give it another number')
  const cases: readonly (readonly [string, Buffer, RegExp])[] = [
    ['no signature', ANSWER, /not signed/],
    ['for another request', answerWith(Buffer.alloc(32)), /is wrong/],
    ['another secret', answerWith(mac, { secret: Buffer.alloc(32) }), /is wrong/],
    ['another key', answerWith(mac, { name: Buffer.from('\x05other\0', 'latin1') }), /another key/],
    [
      'another algorithm',
      answerWith(mac, { algorithm: Buffer.from('\x08hmac-md5\0', 'latin1') }),
      /another key/,
    ],
    ['a part of the signature', answerWith(mac, { shorten: 16 }), /is wrong/],
    ['another number', answerWith(mac, { originalId: 1 }), /is wrong/],
    ['long ago', answerWith(mac, { timeS: NOW / 1_000 - 302 }), /another time/],
    ['to come', answerWith(mac, { timeS: NOW / 1_000 + 302 }), /another time/],
    ['a signed error', answerWith(mac, { error: 18, other: Buffer.alloc(6) }), /clocks differ/],
    ['a signed unknown error', answerWith(mac, { error: 99 }), /TSIG error 99/],
    ['a forged error', answerWith(Buffer.alloc(0), { error: 18 }), /is wrong/],
    ['the server says BADSIG', answerWith(mac, { error: 16 }), /BADSIG/],
    ['the server says BADKEY', answerWith(mac, { error: 17, shorten: 32 }), /BADKEY/],
    ['bytes behind its end', answerWith(mac, { tail: Buffer.alloc(1) }), /cannot be read/],
  ]
  for (const [what, answer, fault] of cases) t.match(faultOf(answer), fault, what)
})

t.test('every changed bit is found', async (t) => {
  const { mac } = signMessage(REQUEST, KEY, { now: NOW })
  const good = answerWith(mac)
  // The number in the header is not signed, and the case of names does not count (RFC 8945 section 4.3.3).
  const loose = (at: number) => at < 2 || isLetter(good[at] ?? 0)
  for (let at = 0; at < good.length; at++) {
    for (const bit of [1, 2, 4, 8, 16, 32, 64, 128]) {
      const bad = Buffer.from(good)
      bad[at] = (bad[at] ?? 0) ^ bit
      if (loose(at) && (at < 2 || bit === 32)) continue
      if (findTsigFault(bad, KEY, { requestMac: mac, now: NOW }) === undefined)
        t.fail(`bit ${bit} of byte ${at}`)
    }
  }
  t.pass('all')
})

function isLetter(byte: number): boolean {
  return /[a-z]/i.test(String.fromCharCode(byte))
}
