/** What the certificate table answers to challenges, as long as they have not run out. */

import t from 'tap'
import { bedFor, caughtUp, FAST } from '../../helpers/certificate-bed.ts'
import { challengeOf, FAR } from '../../helpers/certificate-rows.ts'
import { deleteChallenges, putChallenges } from '../../helpers/challenge-writes.ts'
import { storeFor } from '../feed/followed-store.ts'

t.test('finds answers by token, host name and label until they run out', async (t) => {
  const bed = await bedFor(t, FAST)
  const { store, table } = bed
  const past = { expiresAt: '2026-01-31T12:00:00Z' }
  await putChallenges(store, [
    challengeOf('h', { token: 'abc', value: 'abc.print' }),
    challengeOf('p', { token: 'past', ...past }),
    challengeOf('t', { type: 'tls-alpn-01', value: 'one.print', expiresAt: '2026-02-01T00:00:00Z' }),
    challengeOf('u', { type: 'tls-alpn-01', value: 'two.print', expiresAt: FAR }),
    challengeOf('x', { type: 'dns-01', name: 'mfrggzdfmztwq2lk', value: 'v1' }),
    challengeOf('y', { type: 'dns-01', name: 'mfrggzdfmztwq2lk', value: 'v2' }),
    challengeOf('z', { type: 'dns-01', name: 'mfrggzdfmztwq2lk', value: 'v3', ...past }),
  ])
  await caughtUp(bed)
  t.equal(table.findAnswer('abc')?.value, 'abc.print')
  for (const token of ['past', 'token-t', '', 'app.example', '__proto__'])
    t.equal(table.findAnswer(token), undefined)
  t.equal(table.findAlpn('app.example')?.value, 'two.print')
  t.equal(table.findAlpn('other.example'), undefined)
  t.same([...table.findTxt('mfrggzdfmztwq2lk')].sort(), ['v1', 'v2'])
  t.same(table.findTxt('app.example'), [])
  await deleteChallenges(store, ['h', 'u', 'x'])
  await caughtUp(bed)
  t.equal(table.findAnswer('abc'), undefined)
  t.equal(table.findAlpn('app.example')?.value, 'one.print')
  t.same(table.findTxt('mfrggzdfmztwq2lk'), ['v2'])
})

t.test('knows whether any name is to be proven by tls-alpn-01', async (t) => {
  const store = await storeFor(t)
  const bed = await bedFor(t, { store, ...FAST })
  const { table } = bed
  const alpnOf = (id: string) => challengeOf(id, { type: 'tls-alpn-01' })
  t.equal(table.hasAlpn, false)
  await putChallenges(store, [challengeOf('h'), alpnOf('a'), alpnOf('b')])
  await putChallenges(store, [alpnOf('a')])
  await caughtUp(bed)
  t.equal(table.hasAlpn, true)
  await store.put('challenge/b', { ...alpnOf('b'), value: '' })
  await deleteChallenges(store, ['a'])
  await caughtUp(bed)
  t.equal(table.hasAlpn, true, 'the last good one stays')
  await deleteChallenges(store, ['b'])
  await caughtUp(bed)
  t.equal(table.hasAlpn, false)
  await putChallenges(store, [challengeOf('h')])
  await caughtUp(bed)
  t.equal(table.hasAlpn, false)
})
