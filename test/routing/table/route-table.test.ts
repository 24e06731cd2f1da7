/** The route table: what it serves, what it refuses, and how it lives through the loss of its feed. */

import t, { type Test } from 'tap'
import type { RouteRecord } from '../../../routing/records/records.ts'
import type { FeedEvent, Store } from '../../../routing/store/store.ts'
import { type RouteTableSettings, startRouteTable } from '../../../routing/table/route-table.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { until } from '../../helpers/until.ts'
import { bound, type FedStore, linesOf, SwitchingStore, storeFor } from '../feed/followed-store.ts'

const FAST = { minRetryMs: 1, maxRetryMs: 4 }

t.test('holds what the store held at the start, over several pages', async (t) => {
  const store = await storeFor(t)
  await Promise.all(Array.from({ length: 2_500 }, (_, n) => put(store, `h${n}.example`)))
  await store.put('vm/hello', {})
  const { table } = await tableFor(t, store)
  t.equal(table.size, 2_500)
  t.equal(table.ready, true)
  t.equal(table.revision, 2_501)
  t.strictSame(table.find('h2499.example'), record('h2499.example'))
  t.equal(table.find('h2500.example'), undefined)
})

t.test('follows additions, changes and deletions', async (t) => {
  const store = await storeFor(t)
  const { table } = await tableFor(t, store)
  await put(store, 'a.example')
  await until(() => table.find('a.example') !== undefined, 'the row is there')
  await put(store, 'a.example', { visibility: 'public' })
  await until(() => table.find('a.example')?.visibility === 'public', 'the row is changed')
  await store.delete('route/a.example')
  await until(() => table.find('a.example') === undefined, 'the row is gone')
  t.equal(table.size, 0)
  t.equal(table.revision, 3)
})

t.test('keeps a row the same frozen object until its record changes', async (t) => {
  const store = await storeFor(t)
  await put(store, 'a.example')
  const { table } = await tableFor(t, store)
  const row = table.find('a.example')
  t.ok(Object.isFrozen(row))
  await put(store, 'b.example')
  await put(store, 'a.example')
  await until(() => table.revision === 3, 'both changes')
  t.equal(table.find('a.example'), row, 'written again with the same content')
  await put(store, 'a.example', { generation: 2 })
  await until(() => table.revision === 4, 'the third change')
  t.not(table.find('a.example'), row)
})

t.test('refuses a poisoned record: the good row stays, a deletion removes it', async (t) => {
  const store = await storeFor(t)
  await put(store, 'a.example')
  await store.put('route/bad.example', { hostname: 'bad.example' })
  await store.put('route/alias.example', { ...record('a.example') })
  const { table, log } = await tableFor(t, store)
  t.equal(table.size, 1)
  const row = table.find('a.example')
  await store.put('route/a.example', { ...record('a.example'), upstream: { host: '10.0.0.9', port: 0 } })
  await put(store, 'b.example')
  await until(() => table.find('b.example') !== undefined, 'the row behind the poisoned one')
  t.equal(table.find('a.example'), row)
  t.match(linesOf(log, 'error'), [
    { key: 'route/alias.example', field: '' },
    { key: 'route/bad.example', field: '/visibility' },
    { key: 'route/a.example', field: '/upstream/port', revision: 4 },
  ])
  t.match(table.status().refused, {
    count: 3,
    last: { key: 'route/a.example', reason: /^\/upstream\/port: / },
  })
  await store.delete('route/a.example')
  await until(() => table.find('a.example') === undefined, 'the row is gone')
})

t.test('builds the new rows completely before a resync replaces the old ones', async (t) => {
  const store = await storeFor(t)
  await put(store, 'kept.example')
  await put(store, 'gone.example')
  await put(store, 'poisoned.example')
  const { table, feed, lists } = await puppetFor(t, store)
  const kept = table.find('kept.example')
  const poisoned = table.find('poisoned.example')
  await store.delete('route/gone.example')
  await store.put('route/poisoned.example', {})
  await put(store, 'new.example')
  const held = lists.hold()
  feed.send({ kind: 'resync' })
  await held.reached
  t.ok(table.find('gone.example'), 'the old rows serve while the new ones are read')
  t.equal(table.find('new.example'), undefined)
  held.release()
  await until(() => table.find('new.example') !== undefined, 'the new rows')
  t.equal(table.find('gone.example'), undefined)
  t.equal(table.find('kept.example'), kept, 'unchanged rows stay the same objects')
  t.equal(table.find('poisoned.example'), poisoned, 'the last good row outlives a resync')
  t.equal(table.revision, 6)
})

t.test('resyncs by itself when the feed was trimmed past it', async (t) => {
  const store = await storeFor(t, 5)
  const { table, log } = await tableFor(t, store)
  await Promise.all(Array.from({ length: 600 }, (_, n) => put(store, `h${n}.example`)))
  await until(() => table.size === 600, 'all rows')
  t.equal(table.revision, 600)
  t.strictSame(linesOf(log, 'warn', 'error'), [])
})

t.test('ignores changes that its listing held already', async (t) => {
  const store = await storeFor(t)
  await put(store, 'a.example', { generation: 1 })
  await put(store, 'a.example', { generation: 2 })
  const { table } = await tableFor(t, { ...bound(store), watch: (_from, signal) => store.watch(0, signal) })
  const row = table.find('a.example')
  await put(store, 'b.example')
  await until(() => table.find('b.example') !== undefined, 'the later row')
  t.equal(table.find('a.example'), row)
})

t.test('serves on while the feed is lost, tells its age, and takes it up where it ended', async (t) => {
  const store = await storeFor(t)
  await put(store, 'a.example')
  const clock = { nowMs: 0 }
  const { table, feed, lists, log } = await puppetFor(t, store, { now: () => clock.nowMs })
  t.equal(table.ageMs(), 0)
  lists.broken = true
  feed.fail(new Error('connection lost'))
  await until(() => lists.attempts >= 5, 'several attempts')
  clock.nowMs = 1_234
  t.equal(table.ageMs(), 1_234)
  t.ok(table.find('a.example'))
  t.equal(table.ready, true)
  await put(store, 'b.example')
  const readSoFar = lists.pages
  lists.broken = false
  await until(() => lists.pages > readSoFar, 'the store is probed')
  t.equal(table.ageMs(), 1_234, 'the store is ahead')
  feed.send({
    kind: 'changes',
    changes: [{ revision: 2, key: 'route/b.example', value: { ...record('b.example') } }],
    position: { revision: 2, mark: '' },
  })
  await until(() => table.find('b.example') !== undefined, 'the row of the meantime')
  t.equal(table.ageMs(), 0)
  t.equal(feed.watchedFrom.at(-1), 1)
  t.equal(lists.pages - readSoFar, 1, 'one probe and no full listing')
  t.match(log.lines[0], { level: 'warn', err: { message: 'connection lost' } })
  t.match(log.lines[1], { level: 'info', message: 'the route table follows the store again' })
})

t.test('its revision does not go back when the store fell back', async (t) => {
  const store = await storeFor(t)
  for (const name of ['a', 'b', 'c']) await put(store, `${name}.example`)
  const switching = new SwitchingStore(store)
  const { table } = await tableFor(t, switching, { ...FAST, probeMs: 5 })
  t.equal(table.revision, 3)
  const fallen = await storeFor(t)
  await put(fallen, 'a.example')
  switching.storeId = table.status().storeId
  switching.current = fallen
  await until(() => table.size === 1, 'the store that fell back is loaded')
  t.equal(table.revision, 3)
  t.equal(table.status().revision, 3)
  for (const name of ['d', 'e', 'f']) await put(fallen, `${name}.example`)
  await until(() => table.revision === 4, 'a revision above the old one')
})

t.test('starts without its store, not ready, and loads when the store is there', async (t) => {
  const store = await storeFor(t)
  await put(store, 'a.example')
  let isBroken = true
  const flaky: FedStore = {
    ...bound(store),
    list: async (prefix, page) => {
      if (isBroken) throw new Error('no store')
      return store.list(prefix, page)
    },
  }
  const { table, log } = await tableFor(t, flaky)
  t.equal(table.ready, false)
  t.equal(table.ageMs(), Number.POSITIVE_INFINITY)
  t.equal(table.find('a.example'), undefined)
  t.equal(log.lines[0]?.level, 'warn')
  isBroken = false
  await until(() => table.ready, 'the store is there')
  t.ok(table.find('a.example'))
  t.equal(table.ageMs(), 0)
})

t.test('waits longer after each failure, up to a limit', async (t) => {
  let attempts = 0
  const dead: FedStore = {
    get: async () => undefined,
    list: async () => {
      attempts += 1
      throw new Error('no store')
    },
    watch: async function* () {},
  }
  await tableFor(t, dead, { minRetryMs: 20, maxRetryMs: 100_000 })
  const startedAt = performance.now()
  await until(() => attempts >= 5, 'five attempts')
  t.ok(performance.now() - startedAt >= 20 + 40 + 80 - 5, 'the waits double')
})

t.test('ends at once when it is disposed, in a wait and in the feed', async (t) => {
  const store = await storeFor(t)
  const watching = await startRouteTable({ store, log: createListLog() })
  await watching[Symbol.asyncDispose]()
  const dead = { ...bound(store), list: () => Promise.reject(new Error('no store')) }
  const waiting = await startRouteTable(
    { store: dead, log: createListLog() },
    { minRetryMs: 60_000, maxRetryMs: 60_000 },
  )
  const startedAt = performance.now()
  await waiting[Symbol.asyncDispose]()
  t.ok(performance.now() - startedAt < 20_000)
})

function record(hostname: string, more: Partial<RouteRecord> = {}): RouteRecord {
  const upstream = { host: '10.0.0.2', port: 8_000 }
  return { hostname, visibility: 'private', upstream, state: 'running', generation: 1, ...more }
}

function put(store: Store, hostname: string, more: Partial<RouteRecord> = {}): Promise<number> {
  return store.put(`route/${hostname}`, { ...record(hostname, more) })
}

async function tableFor(t: Test, store: FedStore, settings: RouteTableSettings = FAST) {
  const log = createListLog()
  const table = await startRouteTable({ store, log }, settings)
  t.teardown(() => table[Symbol.asyncDispose]())
  return { table, log }
}

/** A table whose feed says what the test says, and whose listings can be held up or broken. */
async function puppetFor(t: Test, store: Store, settings: RouteTableSettings = {}) {
  const feed = new PuppetFeed()
  const lists = new PuppetLists(store)
  const puppet = { ...bound(store), list: lists.list.bind(lists), watch: feed.watch.bind(feed) }
  return { ...(await tableFor(t, puppet, { ...FAST, ...settings })), feed, lists }
}

class PuppetFeed {
  readonly watchedFrom: number[] = []
  #next = Promise.withResolvers<FeedEvent | undefined>()

  send(event: FeedEvent): void {
    this.#next.resolve(event)
  }

  fail(error: Error): void {
    this.#next.reject(error)
  }

  async *watch(from: number, signal: AbortSignal): AsyncIterable<FeedEvent> {
    this.watchedFrom.push(from)
    signal.addEventListener('abort', () => this.#next.resolve(undefined))
    while (!signal.aborted) {
      const event = await this.#next.promise.finally(() => {
        this.#next = Promise.withResolvers()
      })
      if (event !== undefined) yield event
      if (event?.kind === 'resync') return
    }
  }
}

class PuppetLists {
  broken = false
  attempts = 0
  pages = 0
  readonly #store: Store
  #gate: Promise<void> = Promise.resolve()
  #onList = () => {}

  constructor(store: Store) {
    this.#store = store
  }

  hold() {
    const gate = Promise.withResolvers<void>()
    const reached = Promise.withResolvers<void>()
    this.#gate = gate.promise
    this.#onList = reached.resolve
    return { reached: reached.promise, release: gate.resolve }
  }

  async list(...args: Parameters<Store['list']>): ReturnType<Store['list']> {
    this.attempts += 1
    if (this.broken) throw new Error('the store is gone')
    this.pages += 1
    const page = await this.#store.list(...args)
    this.#onList()
    await this.#gate
    return page
  }
}
