/** The label that a name's owner writes into DNS once: it must never change. */

import { createHash } from 'node:crypto'
import t from 'tap'
import { toChallengeName, toDnsLabel } from '../../../acme/dns/challenge-label.ts'

t.test('is the start of a base32 digest of the name', async (t) => {
  t.equal(toDnsLabel('app.example.com'), slowLabel('app.example.com'))
  t.equal(toDnsLabel('example.test'), slowLabel('example.test'))
  for (let index = 0; index < 100; index++) t.equal(toDnsLabel(`n${index}.test`), slowLabel(`n${index}.test`))
  t.match(toDnsLabel('app.example.com'), /^[a-z2-7]{20}$/)
})

t.test('a wildcard and its name share it, in any case', async (t) => {
  t.equal(toDnsLabel('*.Example.test'), toDnsLabel('example.test'))
  t.not(toDnsLabel('a.example.test'), toDnsLabel('b.example.test'))
  t.equal(toChallengeName('*.example.test'), '_acme-challenge.example.test')
  t.equal(toChallengeName('example.test'), '_acme-challenge.example.test')
})

function slowLabel(name: string): string {
  const hex = createHash('sha256').update(name).digest('hex')
  const bits = [...hex].map((digit) => Number.parseInt(digit, 16).toString(2).padStart(4, '0')).join('')
  const digits = bits.slice(0, 100).match(/.{5}/g) ?? []
  return digits.map((digit) => 'abcdefghijklmnopqrstuvwxyz234567'[Number.parseInt(digit, 2)]).join('')
}
