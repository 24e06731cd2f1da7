/** DER as it is written and read: exact bytes, and nothing that is not DER. */

import fc from 'fast-check'
import t from 'tap'
import {
  contextTag,
  DerError,
  readBits,
  readChildren,
  readDer,
  readInteger,
  readOid,
  readTime,
  TAGS,
  toBitString,
  toDer,
  toInteger,
  toOid,
} from '../../acme/der.ts'

t.test('writes lengths in as few bytes as they need', (t) => {
  const headOf = (length: number) => toDer(TAGS.octetString, Buffer.alloc(length)).toString('hex', 0, 5)
  t.match(headOf(0), /^0400/)
  t.match(headOf(127), /^047f/)
  t.match(headOf(128), /^048180/)
  t.match(headOf(256), /^04820100/)
  t.match(headOf(65_536), /^0483010000/)
  t.end()
})

t.test('reads what it has written', (t) => {
  for (const length of [0, 1, 127, 128, 255, 256, 65_535, 65_536]) {
    const value = Buffer.alloc(length, 7)
    const list = readChildren(readDer(toDer(TAGS.sequence, toDer(TAGS.octetString, value), toOid('1.2.3'))))
    t.same(list[0]?.value, value)
    t.equal(readOid(list[1]), '1.2.3')
  }
  t.same(readBits(readDer(toBitString(Buffer.from('ab')))), Buffer.from('ab'))
  t.end()
})

t.test('object identifiers keep their numbers', (t) => {
  for (const text of ['1.2.840.113549.1.1.11', '2.5.29.17', '1.3.6.1.5.5.7.1.31', '0.9.2342', '2.999.3'])
    t.equal(readOid(readDer(toOid(text))), text)
  t.equal(toOid('1.2.840.10045.4.3.2').toString('hex'), '06082a8648ce3d040302')
  t.end()
})

t.test('integers are not negative, of any length', (t) => {
  for (const [value, hex] of [
    [0n, '020100'],
    [127n, '02017f'],
    [128n, '02020080'],
    [65_537n, '0203010001'],
    [1n << 64n, '0209010000000000000000'],
  ] as const) {
    t.equal(toInteger(value).toString('hex'), hex)
    t.equal(readInteger(readDer(Buffer.from(hex, 'hex'))), value)
  }
  for (const hex of ['0200', '020180', '0202ff7f', '040100'])
    t.throws(() => readInteger(readDer(Buffer.from(hex, 'hex'))), DerError, hex)
  t.throws(() => readInteger(undefined), DerError)
  t.end()
})

t.test('reads times in UTC alone', (t) => {
  const timeOf = (text: string) => readTime(readDer(toDer(TAGS.generalizedTime, Buffer.from(text))))
  t.equal(timeOf('20260131120000Z'), Date.UTC(2026, 0, 31, 12))
  for (const text of ['20260131120000', '20260131120000+0100', '20261331120000Z', '', '2026'])
    t.throws(() => timeOf(text), DerError)
  t.end()
})

t.test('refuses what is not DER', (t) => {
  for (const hex of ['', '30', '3001', '30800000', '308400000001', '3000ff', '1f00', '3085', 'bf8100'])
    t.throws(() => readDer(Buffer.from(hex, 'hex')), DerError, hex)
  t.throws(() => readChildren(readDer(Buffer.from('30030201', 'hex'))), DerError)
  t.equal(contextTag(3), 0xa3)
  t.end()
})

t.test('any bytes are read, or refused with DerError', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        for (const child of readChildren(readDer(Buffer.from(bytes)))) readOid(child)
      } catch (error) {
        if (!(error instanceof DerError)) throw error
      }
    }),
  )
  t.end()
})
