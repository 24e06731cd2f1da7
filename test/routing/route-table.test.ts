/** The route table: what it serves, what it refuses, and how it lives through the loss of its feed. */

import t, { type Test } from 'tap'
import { startMemoryStore } from '../../routing/memory-store.ts'
import type { RouteRecord } from '../../routing/records.ts'
import { type RouteTableSettings, startRouteTable } from '../../routing/route-table.ts'
import type { FeedEvent, Store } from '../../routing/store.ts'
import { createListLog, until } from './logs.ts'

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
  await until(() => table.find('a.example') !== undefined)
  await put(store, 'a.example', { visibility: 'public' })
  await until(() => table.find('a.example')?.visibility === 'public')
  await store.delete('route/a.example')
  await until(() => table.find('a.example') === undefined)
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
  await until(() => table.revision === 3)
  t.equal(table.find('a.example'), row, 'written again with the same content')
  await put(store, 'a.example', { generation: 2 })
  await until(() => table.revision === 4)
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
  await until(() => table.find('b.example') !== undefined)
  t.equal(table.find('a.example'), row)
  t.match(
    log.lines.filter(({ level }) => level === 'error'),
    [
      { key: 'route/alias.example', field: '/hostname' },
      { key: 'route/bad.example', field: '/visibility' },
      { key: 'route/a.example', field: '/upstream/port', revision: 4 },
    ],
  )
  await store.delete('route/a.example')
  await until(() => table.find('a.example') === undefined)
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
  await until(() => table.find('new.example') !== undefined)
  t.equal(table.find('gone.example'), undefined)
  t.equal(table.find('kept.example'), kept, 'unchanged rows stay the same objects')
  t.equal(table.find('poisoned.example'), poisoned, 'the last good row outlives a resync')
  t.equal(table.revision, 6)
})

t.test('resyncs by itself when the feed was trimmed past it', async (t) => {
  const store = await storeFor(t, 5)
  const { table, log } = await tableFor(t, store)
  await Promise.all(Array.from({ length: 600 }, (_, n) => put(store, `h${n}.example`)))
  await until(() => table.size === 600)
  t.equal(table.revision, 600)
  t.strictSame(log.lines, [])
})

t.test('ignores changes that its listing held already', async (t) => {
  const store = await storeFor(t)
  await put(store, 'a.example', { generation: 1 })
  await put(store, 'a.example', { generation: 2 })
  const stale = { ...store, watch: (_from: number, signal: AbortSignal) => store.watch(0, signal) }
  const { table } = await tableFor(t, { ...stale, list: store.list.bind(store) })
  const row = table.find('a.example')
  await put(store, 'b.example')
  await until(() => table.find('b.example') !== undefined)
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
  await until(() => log.lines.length >= 3)
  clock.nowMs = 1_234
  t.equal(table.ageMs(), 1_234)
  t.ok(table.find('a.example'))
  t.equal(table.ready, true)
  await put(store, 'b.example')
  const readSoFar = lists.pages
  lists.broken = false
  await until(() => table.ageMs() === 0)
  feed.send({
    kind: 'changes',
    changes: [{ revision: 2, key: 'route/b.example', value: { ...record('b.example') } }],
  })
  await until(() => table.find('b.example') !== undefined)
  t.equal(feed.watchedFrom.at(-1), 1)
  t.equal(lists.pages - readSoFar, 1, 'one probe and no full listing')
  t.match(log.lines[0], { level: 'warn', err: { message: 'connection lost' } })
})

t.test('starts without its store, not ready, and loads when the store is there', async (t) => {
  const store = await storeFor(t)
  await put(store, 'a.example')
  let isBroken = true
  const flaky: Pick<Store, 'list' | 'watch'> = {
    list: async (prefix, page) => {
      if (isBroken) throw new Error('no store')
      return store.list(prefix, page)
    },
    watch: (from, signal) => store.watch(from, signal),
  }
  const { table, log } = await tableFor(t, flaky)
  t.equal(table.ready, false)
  t.equal(table.ageMs(), Number.POSITIVE_INFINITY)
  t.equal(table.find('a.example'), undefined)
  t.equal(log.lines[0]?.level, 'warn')
  isBroken = false
  await until(() => table.ready)
  t.ok(table.find('a.example'))
  t.equal(table.ageMs(), 0)
})

t.test('waits longer after each failure, up to a limit', async (t) => {
  let attempts = 0
  const dead: Pick<Store, 'list' | 'watch'> = {
    list: async () => {
      attempts += 1
      throw new Error('no store')
    },
    watch: async function* () {},
  }
  await tableFor(t, dead, { minRetryMs: 20, maxRetryMs: 100_000 })
  const startedAt = performance.now()
  await until(() => attempts >= 5)
  t.ok(performance.now() - startedAt >= 20 + 40 + 80 - 5, 'the waits double')
})

t.test('ends at once when it is disposed, in a wait and in the feed', async (t) => {
  const store = await storeFor(t)
  const watching = await startRouteTable({ store, log: createListLog() })
  await watching[Symbol.asyncDispose]()
  const dead = { list: () => Promise.reject(new Error('no store')), watch: store.watch.bind(store) }
  const waiting = await startRouteTable(
    { store: dead, log: createListLog() },
    { minRetryMs: 60_000, maxRetryMs: 60_000 },
  )
  const startedAt = performance.now()
  await waiting[Symbol.asyncDispose]()
  t.ok(performance.now() - startedAt < 1_000)
})

function record(hostname: string, more: Partial<RouteRecord> = {}): RouteRecord {
  const upstream = { host: '10.0.0.2', port: 8_000 }
  return { hostname, visibility: 'private', upstream, state: 'running', generation: 1, ...more }
}

function put(store: Store, hostname: string, more: Partial<RouteRecord> = {}): Promise<number> {
  return store.put(`route/${hostname}`, { ...record(hostname, more) })
}

async function storeFor(t: Test, feedLimit = 10_000): Promise<Store> {
  const store = await startMemoryStore({ feedLimit })
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}

async function tableFor(t: Test, store: Pick<Store, 'list' | 'watch'>, settings: RouteTableSettings = FAST) {
  const log = createListLog()
  const table = await startRouteTable({ store, log }, settings)
  t.teardown(() => table[Symbol.asyncDispose]())
  return { table, log }
}

/** A table whose feed says what the test says, and whose listings can be held up or broken. */
async function puppetFor(t: Test, store: Store, settings: RouteTableSettings = {}) {
  const feed = new PuppetFeed()
  const lists = new PuppetLists(store)
  const puppet = { list: lists.list.bind(lists), watch: feed.watch.bind(feed) }
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
    if (this.broken) throw new Error('the store is gone')
    this.pages += 1
    const page = await this.#store.list(...args)
    this.#onList()
    await this.#gate
    return page
  }
}
