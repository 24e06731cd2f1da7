/** Budgets in time: buckets are refilled evenly, and no clock or rounding lets more through. */

import t from 'tap'
import type { Budget, BudgetBook } from '../../../acme/books.ts'
import { createBooks } from '../../../routing/certificates/books.ts'
import type { Store } from '../../../routing/store/store.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { storeFor } from '../feed/followed-store.ts'

const DAY_MS = 86_400_000
const START = Date.parse('2026-01-31T12:00:00.000Z')

function bookOf(store: Store, clock: { now: number }): BudgetBook {
  return createBooks({ store, log: createListLog() }, { now: () => clock.now }).budgets
}

t.test('what was taken comes back one after the other, evenly', async (t) => {
  const clock = { now: START }
  const book = bookOf(await storeFor(t), clock)
  const budget: Budget = { limit: 'domain', subject: 'shop.example', capacity: 7, windowMs: 7 * DAY_MS }
  for (let left = 7; left > 0; left -= 1) {
    t.match(await book.read([budget]), [{ budget, left }])
    t.equal(await book.take([budget]), undefined)
  }
  const empty = await book.take([budget])
  t.match(empty, { budget, left: 0 })
  t.ok(Math.abs((empty?.nextAtMs ?? 0) - START - DAY_MS) <= 1)
  clock.now += DAY_MS - 10
  t.match(await book.take([budget]), { left: 0 })
  clock.now += 10
  const [state] = await book.read([budget])
  t.equal(state?.left, 1)
  t.ok((state?.nextAtMs ?? 0) <= clock.now, 'there is one')
  t.equal(await book.take([budget]), undefined)
  t.match(await book.take([budget]), { left: 0 })
  clock.now += 3.5 * DAY_MS
  t.match(await book.read([budget]), [{ left: 3 }])
  clock.now += 100 * DAY_MS
  t.match(await book.read([budget]), [{ left: 7 }])
})

t.test('lets no more through than the capacity and what came back', async (t) => {
  const clock = { now: START + 0.5 }
  const book = bookOf(await storeFor(t), clock)
  const budget: Budget = { limit: 'set', subject: 'x', capacity: 13, windowMs: 100_000 }
  let taken = 0
  for (let step = 0; step < 3_000; step += 1) {
    if ((await book.take([budget])) === undefined) taken += 1
    clock.now += 101.7
  }
  const most = 13 + ((clock.now - START) / 100_000) * 13
  t.ok(taken <= most + 1 && taken >= most - 14, `${taken} of ${most}`)
})

t.test('says which bucket is empty for the longest, and counts one that is named twice once', async (t) => {
  const clock = { now: START }
  const book = bookOf(await storeFor(t), clock)
  const long: Budget = { limit: 'domain', subject: 'a', capacity: 1, windowMs: 7 * DAY_MS }
  const short: Budget = { limit: 'failures', subject: 'a', capacity: 1, windowMs: DAY_MS }
  const wide: Budget = { limit: 'account', subject: 'https://ca.example/1', capacity: 5, windowMs: DAY_MS }
  t.equal(await book.take([wide, short, long, wide]), undefined)
  t.match(await book.read([wide]), [{ left: 4 }])
  t.match(await book.take([short, wide, long]), { budget: long })
  t.match(await book.read([wide]), [{ left: 4 }])
  t.equal(await book.take([]), undefined)
})

t.test('a bucket that cannot be read is full, and one of a far future is at most empty', async (t) => {
  const clock = { now: START }
  const store = await storeFor(t)
  const book = bookOf(store, clock)
  const budget: Budget = { limit: 'domain', subject: 'a', capacity: 2, windowMs: DAY_MS }
  await store.put('acme-budget/domain/a', { fullAt: 'soon' })
  t.match(await book.read([budget]), [{ left: 2 }])
  t.equal(await book.take([budget]), undefined)
  t.match(await book.read([budget]), [{ left: 1 }])
  await store.put('acme-budget/domain/a', { limit: 'domain', subject: 'a', fullAt: '2999-01-01T00:00:00Z' })
  const state = await book.take([budget])
  t.equal(state?.left, 0)
  t.ok((state?.nextAtMs ?? 0) <= START + DAY_MS)
})

t.test('a smaller capacity counts from the same share', async (t) => {
  const clock = { now: START }
  const book = bookOf(await storeFor(t), clock)
  const budget: Budget = { limit: 'domain', subject: 'a', capacity: 40, windowMs: DAY_MS }
  for (let count = 0; count < 20; count += 1) await book.take([budget])
  t.match(await book.read([{ ...budget, capacity: 10 }]), [{ left: 5 }])
})
