/** What the books promise of orders: of several who carry one on, one does, and it ends in one commit. */

import type { Test } from 'tap'
import type { Books, Kept } from '../../acme/books.ts'
import type { OrderRow } from '../../acme/rows.ts'
import {
  accountOf,
  CA,
  certificateOf,
  challengeOf,
  FAR,
  orderOf,
  renewalOf,
} from '../helpers/certificate-rows.ts'
import { putChallenges } from '../helpers/challenge-writes.ts'
import type { BedFor, BookBed } from './book-bed.ts'

export async function testOrders(t: Test, bedFor: BedFor): Promise<void> {
  await t.test('of edges that want the same name at once one does', async (t) => {
    const { books, others } = await bedFor(t)
    const wants = Array.from({ length: 10 }, (_, n) =>
      (n % 2 === 0 ? books : others).orders.put(orderOf('app.example', { failures: n }), 0),
    )
    const done = await Promise.all(wants)
    t.equal(done.filter((revision) => revision !== undefined).length, 1)
    const kept = await books.orders.find('app.example', 'ec')
    t.equal(
      kept?.row.failures,
      done.findIndex((revision) => revision !== undefined),
    )
    t.ok(done.includes(kept?.revision))
    t.equal(await books.orders.find('app.example', 'rsa'), undefined)
  })

  await t.test('a write that follows an older row changes nothing', async (t) => {
    const { books, others } = await bedFor(t)
    const first = (await books.orders.put(orderOf('app.example'), 0)) ?? 0
    const second = (await others.orders.put(orderOf('app.example', { state: 'ordered' }), first)) ?? 0
    t.ok(second > first)
    t.equal(await books.orders.put(orderOf('app.example', { state: 'failed' }), first), undefined)
    t.equal(await books.orders.delete({ row: orderOf('app.example'), revision: first }), false)
    t.equal((await books.orders.find('app.example', 'ec'))?.row.state, 'ordered')
    t.equal(await books.orders.delete({ row: orderOf('app.example'), revision: second }), true)
    t.equal(await books.orders.find('app.example', 'ec'), undefined)
  })

  await t.test('keeps every field of a row', async (t) => {
    const { books } = await bedFor(t)
    const row = orderOf('app.example', {
      ...{
        state: 'failed',
        of: `${FAR} ${FAR}`,
        ca: CA,
        paidCas: [CA],
        triedCas: [CA],
        url: `${CA}/order/1`,
      },
      authorizations: [
        { url: `${CA}/authz/1`, name: 'app.example', isWildcard: true },
        {
          ...{ url: `${CA}/authz/2`, name: 'app.example', isWildcard: false },
          challenge: { type: 'dns-01', url: `${CA}/challenge/2`, id: 'c2' },
        },
      ],
      ...{ profile: 'shortlived', replaces: 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE', csr: 'MIIB' },
      sealedKey: accountOf().sealedKey,
      lastError: {
        ...{ code: 'certificate_refused', detail: 'no such "name" – really', problemType: 'rateLimited' },
        ...{ step: 'answered', at: FAR },
      },
      ...{ failures: 3, nextTryAt: FAR },
    })
    await books.orders.put(row, 0)
    t.strictSame({ ...(await books.orders.find('app.example', 'ec'))?.row }, row)
  })

  await t.test('is written with its answers, in one commit', async (t) => {
    const { books, store } = await bedFor(t)
    const first = (await books.orders.put(orderOf('app.example'), 0)) ?? 0
    const put = ['c1', 'c2', 'c3'].map((id) => challengeOf(id))
    const second = (await books.orders.put(orderOf('app.example'), first, { put, remove: [] })) ?? 0
    t.equal((await store.get('order/app.example/ec'))?.revision, second)
    const changes = { put: [challengeOf('c1', { value: 'another.print' })], remove: ['c2', 'none'] }
    t.ok(await books.orders.put(orderOf('app.example', { failures: 1 }), second, changes))
    t.same(await answersOf(books), { c1: 'another.print', c3: 'token-c3.print' })
  })

  await t.test('who has lost it neither writes nor deletes answers', async (t) => {
    const { books, others } = await bedFor(t)
    const put = ['c1', 'c2'].map((id) => challengeOf(id))
    const first = (await books.orders.put(orderOf('app.example'), 0, { put, remove: [] })) ?? 0
    const second = (await others.orders.put(orderOf('app.example', { state: 'ordered' }), first)) ?? 0
    const late = { put: [challengeOf('c2', { value: 'late.print' }), challengeOf('c3')], remove: ['c1'] }
    t.equal(await books.orders.put(orderOf('app.example'), first, late), undefined)
    const kept = { c1: 'token-c1.print', c2: 'token-c2.print' }
    t.same(await answersOf(books), kept)
    t.ok(await others.orders.delete({ row: orderOf('app.example'), revision: second }))
    t.equal(await books.orders.put(orderOf('app.example'), first, late), undefined, 'nor when it is gone')
    t.same(await answersOf(books), kept)
  })
}

async function answersOf({ challenges }: Books): Promise<Readonly<Record<string, string>>> {
  const found = await challenges.find(['c1', 'c2', 'c3'])
  return Object.fromEntries(found.map(({ id, value }) => [id, value]))
}

export async function testCompletion(t: Test, bedFor: BedFor): Promise<void> {
  const certificate = certificateOf('app.example')
  const renewal = renewalOf(certificate)
  const challenge = { type: 'http-01', url: `${CA}/c`, id: 'c1' } as const
  const orderFor = async ({ books, store }: BookBed): Promise<Kept<OrderRow>> => {
    await putChallenges(store, [challengeOf('c1'), challengeOf('other')])
    const authorization = { url: `${CA}/a`, name: 'app.example', isWildcard: false, challenge }
    const row = orderOf('app.example', { state: 'finalized', authorizations: [authorization] })
    return { row, revision: (await books.orders.put(row, 0)) ?? 0 }
  }

  await t.test('writes the certificate and takes away what led to it', async (t) => {
    const bed = await bedFor(t)
    const { books, store } = bed
    const revision = await books.orders.complete(await orderFor(bed), { certificate, renewal })
    const kept = await books.certificates.find('app.example', 'ec')
    t.strictSame({ ...kept?.row }, certificate)
    t.equal(kept?.revision, revision)
    t.strictSame((await store.get('renewal/app.example/ec'))?.value, renewal)
    t.equal(await books.orders.find('app.example', 'ec'), undefined)
    t.strictSame(
      (await books.challenges.find(['c1', 'other'])).map(({ id }) => id),
      ['other'],
    )
  })

  await t.test('does nothing for who has lost the order', async (t) => {
    const bed = await bedFor(t)
    const { books, others, store } = bed
    const order = await orderFor(bed)
    await others.orders.put({ ...order.row, failures: 1 }, order.revision)
    t.equal(await books.orders.complete(order, { certificate, renewal }), undefined)
    t.equal(await books.certificates.find('app.example', 'ec'), undefined)
    t.equal(await store.get('renewal/app.example/ec'), undefined)
    t.equal((await books.challenges.find(['c1'])).length, 1)
  })

  await t.test(
    'takes its answers with it when it is deleted, and none of an order that was lost',
    async (t) => {
      const bed = await bedFor(t)
      const { books, others } = bed
      const order = await orderFor(bed)
      const revision = (await others.orders.put(order.row, order.revision)) ?? 0
      t.equal(await books.orders.delete(order), false)
      t.equal((await books.challenges.find(['c1'])).length, 1)
      t.equal(await books.orders.delete({ ...order, revision }), true)
      t.same(
        (await books.challenges.find(['c1', 'other'])).map(({ id }) => id),
        ['other'],
      )
    },
  )

  await t.test('of two who complete the same order one does', async (t) => {
    const bed = await bedFor(t)
    const order = await orderFor(bed)
    const done = await Promise.all(
      [bed.books, bed.others].map(({ orders }) => orders.complete(order, { certificate, renewal })),
    )
    t.equal(done.filter((revision) => revision !== undefined).length, 1)
  })

  await t.test('refuses a renewal of another certificate', async (t) => {
    const bed = await bedFor(t)
    const order = await orderFor(bed)
    const wrong = { ...renewal, of: `${FAR} ${FAR}` }
    await t.rejects(bed.books.orders.complete(order, { certificate, renewal: wrong }), {
      code: 'api_record_invalid',
      field: '/of',
    })
    t.ok(await bed.books.orders.find('app.example', 'ec'))
  })

  await t.test('a certificate that was uploaded meanwhile stays', async (t) => {
    const bed = await bedFor(t)
    const order = await orderFor(bed)
    const upload = certificateOf('app.example', { source: 'upload' })
    await bed.others.certificates.put(upload, undefined)
    t.equal(await bed.books.orders.complete(order, { certificate, renewal }), undefined)
    t.equal((await bed.books.certificates.find('app.example', 'ec'))?.row.source, 'upload')
    t.equal(await bed.books.orders.find('app.example', 'ec'), undefined)
    t.same(await bed.books.challenges.find(['c1']), [])
  })
}
