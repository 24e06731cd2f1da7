/** What the books promise of certificates and challenges. */

import type { Test } from 'tap'
import { startPresence } from '../../routing/presence.ts'
import { certificateOf, challengeOf, FAR, renewalOf } from '../helpers/certificate-rows.ts'
import { putChallenges } from '../helpers/challenge-writes.ts'
import { createListLog } from '../helpers/list-log.ts'
import type { BedFor } from './book-bed.ts'

export async function testCertificates(t: Test, bedFor: BedFor): Promise<void> {
  await t.test('one that is put without a renewal has none', async (t) => {
    const { books, store } = await bedFor(t)
    const certificate = certificateOf('app.example')
    const first = await books.certificates.put(certificate, renewalOf(certificate))
    t.ok(await store.get('renewal/app.example/ec'))
    const second = await books.certificates.put(certificateOf('app.example', { source: 'upload' }), undefined)
    t.ok(second > first)
    t.equal(await store.get('renewal/app.example/ec'), undefined)
  })

  await t.test('an upload also ends an order that cannot be read', async (t) => {
    const { books, store } = await bedFor(t)
    await store.put('order/app.example/ec', { name: 'x' })
    await t.rejects(books.orders.find('app.example', 'ec'), { code: 'api_record_broken' })
    await books.certificates.put(certificateOf('app.example', { source: 'upload' }), undefined)
    t.equal(await store.get('order/app.example/ec'), undefined)
  })

  await t.test('a deletion takes the renewal with it, and nothing of the other key type', async (t) => {
    const { books, store } = await bedFor(t)
    for (const keyType of ['ec', 'rsa'] as const) {
      const certificate = certificateOf('app.example', { keyType })
      await books.certificates.put(certificate, renewalOf(certificate))
    }
    await books.certificates.delete('app.example', 'ec')
    await books.certificates.delete('app.example', 'ec')
    t.equal(await books.certificates.find('app.example', 'ec'), undefined)
    t.equal(await store.get('renewal/app.example/ec'), undefined)
    t.ok(await books.certificates.find('app.example', 'rsa'))
    t.ok(await store.get('renewal/app.example/rsa'))
  })

  await t.test('a renewal of a certificate that was replaced is not written', async (t) => {
    const { books, store } = await bedFor(t)
    const old = certificateOf('app.example')
    const young = certificateOf('app.example', { createdAt: FAR })
    await books.certificates.putRenewal(renewalOf(old))
    t.equal(await store.get('renewal/app.example/ec'), undefined)
    await books.certificates.put(young, renewalOf(young))
    await books.certificates.putRenewal(renewalOf(old, { reason: 'revoked' }))
    t.equal((await store.get('renewal/app.example/ec'))?.value.reason, undefined)
    await books.certificates.putRenewal(renewalOf(young, { reason: 'revoked' }))
    t.equal((await store.get('renewal/app.example/ec'))?.value.reason, 'revoked')
  })
}

export async function testChallenges(t: Test, bedFor: BedFor): Promise<void> {
  await t.test('are found, each once', async (t) => {
    const { books, store } = await bedFor(t)
    await putChallenges(store, [challengeOf('c1'), challengeOf('c2')])
    const found = await books.challenges.find(['c1', 'none', 'c2', 'c1'])
    t.strictSame(
      found.map(({ id, value }) => [id, value]),
      [
        ['c1', 'token-c1.print'],
        ['c2', 'token-c2.print'],
      ],
    )
    t.same(await books.challenges.find([]), [])
  })

  await t.test('are missing on live edges that have not said that they have every one', async (t) => {
    const { books, store } = await bedFor(t)
    const log = createListLog()
    for (const name of ['a', 'b', 'c']) {
      const record = { name, version: '1', startedAt: FAR }
      const presence = await startPresence({ store, log }, { kind: 'edge', record })
      t.teardown(() => presence[Symbol.asyncDispose]())
    }
    await store.put('edge/dead', { name: 'dead', version: '1', startedAt: FAR })
    await putChallenges(store, [challengeOf('c1'), challengeOf('c2')])
    const see = (challenge: string, edge: string) =>
      store.put(`sighting/${challenge}/${edge}`, { challenge, edge, expiresAt: FAR })
    t.same(await books.challenges.findMissing([]), [])
    t.same(await books.challenges.findMissing(['c1']), ['a', 'b', 'c'])
    await see('c1', 'a')
    await see('c1', 'b')
    await see('c2', 'a')
    await store.put('sighting/c2/c', { challenge: 'c2', edge: 'poison' })
    t.same(await books.challenges.findMissing(['c1', 'c2', 'c1']), ['b', 'c'])
    t.same(await books.challenges.findMissing(['c1']), ['c'])
    await see('c1', 'c')
    t.same(await books.challenges.findMissing(['c1']), [])
  })

  await t.test('are confirmed by nobody while no edge lives', async (t) => {
    const { books, store } = await bedFor(t)
    await store.put('edge/dead', { name: 'dead', version: '1', startedAt: FAR })
    await putChallenges(store, [challengeOf('c1')])
    await store.put('sighting/c1/dead', { challenge: 'c1', edge: 'dead', expiresAt: FAR })
    t.same(await books.challenges.findMissing(['c1']), ['no edge shows that it lives'])
    t.same(await books.challenges.findMissing([]), [])
  })
}
