/** Sealing: what is sealed comes back whole, in its place, with its key, and otherwise not at all. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { createSealer, parseSealKeys, SealError, type Sealed } from '../../lib/seal.ts'

const KEY = Buffer.alloc(32, 7)

t.test('opens what it sealed, texts and bytes', (t) => {
  const sealer = createSealer(KEY)
  for (const plain of ['', 'secret', 'ünïcode 🔑', 'x'.repeat(100_000)]) {
    t.equal(sealer.open(sealer.seal(plain, 'token/a'), 'token/a').toString(), plain)
  }
  const bytes = randomBytes(1_000)
  t.strictSame(sealer.open(sealer.seal(bytes, ''), ''), bytes)
  t.strictSame(Object.keys(sealer.seal('x', 'a')).sort(), ['data', 'keyId', 'sealed'])
  t.match(sealer.seal('x', 'a'), { sealed: 'v1', keyId: /^[\w-]{8}$/, data: /^[\w-]+$/ })
  t.end()
})

t.test('opens a value that another program sealed', (t) => {
  // Made once with Python's cryptography: nonce 0…11, key 7…7.
  const data = 'AAECAwQFBgcICQoLa-SKAnh9lD8xEd7us55rx9JntxxKBQ'
  t.equal(createSealer(KEY).open({ sealed: 'v1', keyId: 'S7Bvjk46', data }, 'token/a').toString(), 'secret')
  t.end()
})

t.test('never makes the same bytes twice', (t) => {
  const sealer = createSealer(KEY)
  const made = Array.from({ length: 200 }, () => sealer.seal('secret', 'a').data)
  t.equal(new Set(made.map((data) => data.slice(0, 16))).size, 200, 'each nonce is another')
  t.end()
})

t.test('does not open a value in another place, an altered one, or one of another key', (t) => {
  const sealer = createSealer(KEY)
  const sealed = sealer.seal('secret', 'token/a')
  const bytes = Buffer.from(sealed.data, 'base64url')
  const isRefused = (value: unknown, boundTo = 'token/a') =>
    t.throws(() => sealer.open(value, boundTo), SealError, JSON.stringify(value).slice(0, 80))
  for (const place of ['token/b', 'token/', '', 'token/a\0']) isRefused(sealed, place)
  for (let index = 0; index < bytes.length; index += 1) {
    const altered = Buffer.from(bytes)
    altered.writeUInt8((altered[index] ?? 0) ^ 1, index)
    isRefused({ ...sealed, data: altered.toString('base64url') })
  }
  for (const length of [0, 1, 27, bytes.length - 1]) {
    isRefused({ ...sealed, data: bytes.subarray(0, length).toString('base64url') })
  }
  isRefused(createSealer(Buffer.alloc(32, 8)).seal('secret', 'token/a'))
  isRefused({ ...createSealer(Buffer.alloc(32, 8)).seal('secret', 'token/a'), keyId: sealed.keyId })
  t.end()
})

t.test('refuses what is not a sealed value', (t) => {
  const sealer = createSealer(KEY)
  const good = sealer.seal('secret', 'a')
  const wrong: unknown[] = [
    undefined,
    null,
    'secret',
    {},
    { ...good, sealed: 'v2' },
    { ...good, keyId: 7 },
    { ...good, data: null },
    { sealed: 'v1', keyId: '__proto__', data: good.data },
  ]
  for (const value of wrong) t.throws(() => sealer.open(value, 'a'), SealError, String(value))
  t.end()
})

t.test('seals with the first key and opens with all', (t) => {
  const [older, newer] = [randomBytes(32), randomBytes(32)]
  const old: Sealed = createSealer(older).seal('secret', 'a')
  const both = createSealer([newer, older])
  t.equal(both.open(old, 'a').toString(), 'secret')
  t.equal(createSealer(newer).open(both.seal('more', 'a'), 'a').toString(), 'more')
  t.throws(() => createSealer(newer).open(old, 'a'), /is not known/)
  t.end()
})

t.test('reads keys from a text, one a line, and no other', (t) => {
  const text = `${KEY.toString('base64')}\n\n  ${randomBytes(32).toString('base64url')} \r\n`
  t.equal(parseSealKeys(text).length, 2)
  const sealed = createSealer(KEY).seal('secret', 'a')
  t.equal(createSealer(text).open(sealed, 'a').toString(), 'secret')
  const wrong = [
    randomBytes(31).toString('base64'),
    randomBytes(33).toString('base64'),
    randomBytes(32).toString('hex'),
    `${KEY.toString('base64').slice(0, 20)}!${KEY.toString('base64').slice(21)}`,
    `${KEY.toString('base64')} # comment`,
    'secret',
  ]
  for (const line of wrong) t.throws(() => parseSealKeys(line), SealError, line)
  for (const nothing of ['', '\n', []]) t.throws(() => createSealer(nothing), SealError)
  t.throws(() => createSealer(randomBytes(16)), SealError)
  t.end()
})

t.test('says what is wrong with a key without saying the key', (t) => {
  const line = randomBytes(31).toString('base64')
  t.throws(() => parseSealKeys(line), { message: /^(?!.*[A-Za-z0-9+/]{20})/ })
  t.end()
})
