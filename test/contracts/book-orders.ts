/** What the books promise of orders: of several who carry one on, one does, and it ends in one commit. */

import type { Test } from 'tap'
import type { Kept } from '../../acme/books.ts'
import type { OrderRow } from '../../acme/rows.ts'
import {
  accountOf,
  CA,
  certificateOf,
  challengeOf,
  FAR,
  orderOf,
  renewalOf,
} from '../routing/certificates/rows.ts'
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
}

export async function testCompletion(t: Test, bedFor: BedFor): Promise<void> {
  const certificate = certificateOf('app.example')
  const renewal = renewalOf(certificate)
  const challenge = { type: 'http-01', url: `${CA}/c`, id: 'c1' } as const
  const orderFor = async ({ books }: BookBed): Promise<Kept<OrderRow>> => {
    await books.challenges.put([challengeOf('c1'), challengeOf('other')])
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
