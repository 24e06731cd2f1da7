/** Holds: kept for as long as they can be, and said to be lost before another can have the name. */

import t, { type Test } from 'tap'

import { createBooks } from '../../../routing/certificates/books.ts'
import type { Hold, HoldBook } from '../../../routing/certificates/hold-book.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { until } from '../../helpers/until.ts'

const HOLD_MS = 150
/** Where a hold is expected to be kept: a machine that stands still for less changes nothing. */
const LONG_HOLD_MS = 3_000

/** The store's time goes on when a test says so, and by `perRenewal` with each renewal that is asked for. */
async function bedFor(t: Test, { holdMs = HOLD_MS, perRenewal = 0 } = {}) {
  const state = { nowMs: 0, isAway: false, renewals: 0 }
  const store = await startMemoryStore({ now: () => state.nowMs })
  t.teardown(() => store[Symbol.asyncDispose]())
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
      state.nowMs += perRenewal
      return away(() => store.renewLease(...args))
    },
    releaseLease: (...args) => away(() => store.releaseLease(...args)),
  }
  const log = createListLog()
  const book: HoldBook = createBooks({ store: shaky, log }, { holdMs }).holds
  const other: HoldBook = createBooks({ store, log }, { holdMs }).holds
  return { store, state, log, book, other }
}

async function holdOf(t: Test, book: HoldBook): Promise<Hold> {
  const hold = await book.find('order/a')
  if (hold === undefined) throw new Error('the name is free')
  t.teardown(() => hold[Symbol.asyncDispose]())
  return hold
}

t.test('is renewed for as long as it is wanted', async (t) => {
  const { state, book, other, log } = await bedFor(t, { holdMs: LONG_HOLD_MS, perRenewal: LONG_HOLD_MS / 2 })
  const hold = await holdOf(t, book)
  await until(() => state.renewals > 2, 'its time is over')
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
  const lost = Promise.withResolvers<'lost'>()
  hold.signal.addEventListener('abort', () => lost.resolve('lost'))
  // Timers end in the order of their moments, however late.
  const over = Promise.withResolvers<'over'>()
  const timer = setTimeout(() => over.resolve('over'), HOLD_MS * 0.98)
  state.isAway = true
  t.equal(await Promise.race([lost.promise, over.promise]), 'lost')
  clearTimeout(timer)
  state.nowMs = HOLD_MS - 1
  t.equal(await other.find('order/a'), undefined, 'the other cannot have it yet')
  state.nowMs = HOLD_MS
  const next = await other.find('order/a')
  t.ok((next?.token ?? 0) > hold.token)
  const { renewals } = state
  await next?.[Symbol.asyncDispose]()
  await hold[Symbol.asyncDispose]()
  t.equal(state.renewals, renewals, 'and not renewed any more')
  t.ok(log.lines.some(({ message }) => message.includes('may be held by another')))
})

t.test('a short absence of the store loses nothing', async (t) => {
  const { state, book } = await bedFor(t, { holdMs: LONG_HOLD_MS })
  const hold = await holdOf(t, book)
  state.isAway = true
  await until(() => state.renewals > 0, 'a renewal fails')
  state.isAway = false
  await until(() => state.renewals > 3, 'it is renewed again and again')
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

t.test('where no other process can be, an earlier one is not waited for', async (t) => {
  const { store, log, other } = await bedFor(t)
  const earlier = await store.acquireLease('hold/order/a', 'an-earlier-process', 60_000)
  t.equal(await other.find('order/a'), undefined, 'elsewhere it may live')
  const createAlone = () => createBooks({ store, log }, { holdMs: HOLD_MS, isAlone: true }).holds
  const alone: HoldBook = createAlone()
  const found = await Promise.all([1, 2, 3].map(() => alone.find('order/a')))
  const [hold, ...more] = found.filter((one) => one !== undefined)
  t.ok((hold?.token ?? 0) > (earlier?.token ?? 0))
  t.same(more, [], 'and what this process holds stays held')
  const second: HoldBook = createAlone()
  t.equal(await second.find('order/a'), undefined, 'by all of its books')
  t.equal(hold?.signal.aborted, false)
  await hold?.[Symbol.asyncDispose]()
})
