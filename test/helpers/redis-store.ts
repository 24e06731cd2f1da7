/** Stores in Redis for tests, each with a prefix of its own on one server. */

import type { Test } from 'tap'
import type { RedisSettings } from '../../routing/store/redis-settings.ts'
import { startRedisStore } from '../../routing/store/redis-store.ts'
import type { Change, Document, FeedEvent, Store } from '../../routing/store/store.ts'
import { createListLog, type Line } from './list-log.ts'
import { until } from './until.ts'

export interface LoggedStore {
  readonly store: Store
  readonly lines: readonly Line[]
  readonly prefix: string
}

let count = 0

/** Ended with the test. */
export async function loggedStoreFor(t: Test, settings: RedisSettings): Promise<LoggedStore> {
  count += 1
  const { prefix = `test-${count}` } = settings
  const log = createListLog()
  const store = await startRedisStore({ ...settings, prefix }, { log })
  t.teardown(() => store[Symbol.asyncDispose]())
  return { store, lines: log.lines, prefix }
}

/** What a watcher has been told so far; it never watches again by itself. */
export interface Watching {
  readonly events: readonly FeedEvent[]
  /** Values of `n` of all changes. */
  readonly numbers: () => unknown[]
  /** The code of the error that ended it, or 'ended'. */
  readonly ending: Promise<string>
}

export function watchFor(t: Test, store: Store, from: { revision: number; mark?: string }): Watching {
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  const events: FeedEvent[] = []
  const run = async () => {
    for await (const event of store.watch(from.revision, stop.signal, from.mark)) events.push(event)
    return 'ended'
  }
  const numbers = () =>
    events.flatMap((event) => (event.kind === 'changes' ? event.changes.map(({ value }) => value?.n) : []))
  return { events, numbers, ending: run().catch((error) => error.code) }
}

/** Watches as an edge does: again from its last position after an error, from a listing after a resync. */
export interface Following {
  /** Values of `n` of all changes told. */
  readonly numbers: () => unknown[]
  /** What it takes the store to hold now. */
  readonly table: ReadonlyMap<string, Document>
  readonly resyncs: () => number
  readonly interruptions: () => number
  /** Whether each change's revision was above all before, and no listing's below. */
  readonly isAscending: () => boolean
}

export function followFor(t: Test, store: Store): Following {
  const stop = new AbortController()
  const numbers: unknown[] = []
  const highest = { revision: 0, isAscending: true }
  const see = (revision: number, isFit: boolean) => {
    highest.isAscending &&= isFit
    highest.revision = Math.max(highest.revision, revision)
  }
  const counts = { resyncs: 0, interruptions: 0 }
  const table = new Map<string, Document>()
  const load = async () => {
    const page = await store.list('', { limit: 50_000 })
    table.clear()
    for (const { key, value } of page.documents) table.set(key, value)
    see(page.revision, page.revision >= highest.revision)
    return page
  }
  const apply = ({ revision, key, value }: Change) => {
    see(revision, revision > highest.revision)
    numbers.push(value?.n)
    if (value === undefined) table.delete(key)
    else table.set(key, value)
  }
  const follow = async () => {
    let place: { revision: number; mark?: string } | undefined
    while (!stop.signal.aborted) {
      try {
        place ??= await load()
        for await (const event of store.watch(place.revision, stop.signal, place.mark)) {
          if (event.kind === 'resync') {
            counts.resyncs += 1
            place = undefined
            break
          }
          for (const change of event.changes) apply(change)
          place = event.position
        }
      } catch {
        counts.interruptions += 1
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
  }
  const following = follow()
  t.teardown(async () => {
    stop.abort()
    await following
  })
  return {
    numbers: () => numbers,
    table,
    resyncs: () => counts.resyncs,
    interruptions: () => counts.interruptions,
    isAscending: () => highest.isAscending,
  }
}

/** Waits until the store takes calls again. */
export async function untilAnswers(store: Store): Promise<void> {
  const answers = () =>
    store.get('any').then(
      () => true,
      () => false,
    )
  await until(answers, 'Redis answers')
}

/** The first thing that a watcher is told, however often the connection is lost before. */
export async function takeOne(store: Store, { revision, mark }: { revision: number; mark?: string }) {
  const signal = AbortSignal.timeout(5_000)
  for (;;) {
    try {
      for await (const event of store.watch(revision, signal, mark)) return event
      return undefined
    } catch {
      // The connection that waits for changes comes back a moment after the other.
      await untilAnswers(store)
    }
  }
}

/** Puts a new key every few milliseconds until it is stopped, whatever becomes of each. */
export function writeFor(t: Test, store: Store) {
  const acknowledged: number[] = []
  const revisions: number[] = []
  const state = { isStopped: false }
  const write = async () => {
    for (let n = 0; !state.isStopped; n += 1) {
      try {
        revisions.push(await store.put(`k/${n}`, { n }))
        acknowledged.push(n)
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }
  const writing = write()
  const stop = async () => {
    state.isStopped = true
    await writing
  }
  t.teardown(stop)
  const isAscending = () => revisions.every((revision, index) => revision > (revisions[index - 1] ?? 0))
  return { acknowledged, stop, isAscending }
}
