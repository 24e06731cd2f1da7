/** Holds: kept for as long as they can be, and said to be lost before another can have the name. */

import t, { type Test } from 'tap'
import type { Hold, HoldBook } from '../../../acme/books.ts'
import { createBooks } from '../../../routing/certificates/books.ts'
import type { Store } from '../../../routing/store/store.ts'
import { until } from '../../helpers/until.ts'
import { storeFor } from '../feed/followed-store.ts'
import { createListLog } from '../logs.ts'

const HOLD_MS = 150

async function bedFor(t: Test) {
  const store = await storeFor(t)
  const state = { isAway: false, renewals: 0 }
  const away = async <Result>(call: () => Promise<Result>): Promise<Result> => {
    if (state.isAway) throw new Error('the store is away')
    return call()
  }
  const shaky: Pick<
    Store,
    'get' | 'list' | 'commit' | 'acquireLease' | 'findLease' | 'renewLease' | 'releaseLease'
  > = {
    ...{ get: store.get.bind(store), list: store.list.bind(store), commit: store.commit.bind(store) },
    acquireLease: (...args) => away(() => store.acquireLease(...args)),
    findLease: store.findLease.bind(store),
    renewLease: (...args) => {
      state.renewals += 1
      return away(() => store.renewLease(...args))
    },
    releaseLease: (...args) => away(() => store.releaseLease(...args)),
  }
  const log = createListLog()
  const book: HoldBook = createBooks({ store: shaky, log }, { holdMs: HOLD_MS }).holds
  const other: HoldBook = createBooks({ store, log }, { holdMs: HOLD_MS }).holds
  return { store, state, log, book, other }
}

async function holdOf(t: Test, book: HoldBook): Promise<Hold> {
  const hold = await book.find('order/a')
  if (hold === undefined) throw new Error('the name is free')
  t.teardown(() => hold[Symbol.asyncDispose]())
  return hold
}

t.test('is renewed for as long as it is wanted', async (t) => {
  const { state, book, other, log } = await bedFor(t)
  const hold = await holdOf(t, book)
  await until(() => state.renewals > 6, 'twice its time is over')
  t.equal(hold.signal.aborted, false)
  t.equal(await other.find('order/a'), undefined)
  await hold[Symbol.asyncDispose]()
  t.equal(hold.signal.aborted, true)
  t.ok(await other.find('order/a').then((next) => next?.[Symbol.asyncDispose]().then(() => true)))
  t.same(log.lines, [])
})

t.test('is lost when it cannot be renewed, before anybody else can have it', async (t) => {
  const { state, book, other, log } = await bedFor(t)
  const hold = await holdOf(t, book)
  const lostAt = new Promise<number>((resolve) =>
    hold.signal.addEventListener('abort', () => resolve(performance.now())),
  )
  state.isAway = true
  let next: Hold | undefined
  await until(async () => {
    next = await other.find('order/a')
    return next !== undefined
  }, 'the other has it')
  const takenAt = performance.now()
  t.ok((await lostAt) < takenAt)
  t.ok((next?.token ?? 0) > hold.token)
  const { renewals } = state
  await next?.[Symbol.asyncDispose]()
  await hold[Symbol.asyncDispose]()
  t.equal(state.renewals, renewals, 'and not renewed any more')
  t.ok(log.lines.some(({ message }) => message.includes('may be held by another')))
})

t.test('a short absence of the store loses nothing', async (t) => {
  const { state, book } = await bedFor(t)
  const hold = await holdOf(t, book)
  state.isAway = true
  const { renewals } = state
  await until(() => state.renewals > renewals, 'a renewal fails')
  state.isAway = false
  await until(() => state.renewals > renewals + 5, 'it is renewed again and again')
  t.equal(hold.signal.aborted, false)
})

t.test('is lost at the next renewal when somebody took it away', async (t) => {
  const { store, book } = await bedFor(t)
  const hold = await holdOf(t, book)
  const lease = await store.findLease('hold/order/a')
  if (lease) await store.releaseLease(lease)
  const other = await store.acquireLease('hold/order/a', 'another', 60_000)
  await until(() => hold.signal.aborted, 'it is said')
  await hold[Symbol.asyncDispose]()
  t.match(await store.findLease('hold/order/a'), { token: other?.token }, 'and the other one keeps it')
})

t.test('a store that is away is told to who asks', async (t) => {
  const { state, book } = await bedFor(t)
  state.isAway = true
  await t.rejects(book.find('order/a'), /away/)
})
