/** A store that lies, fails and waits as a test tells it to, and a simple copy that a follower keeps of it. */

import type { Test } from 'tap'
import { startFollower } from '../../../routing/feed/feed-follower.ts'
import type { Copy, CopyLoad } from '../../../routing/feed/feed-load.ts'
import type { FollowerSettings } from '../../../routing/feed/follower-settings.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Change, FeedEvent, Store } from '../../../routing/store/store.ts'
import { createListLog, type Line } from '../../helpers/list-log.ts'

const FAST = { minRetryMs: 1, maxRetryMs: 4, probeMs: 10 }

export type FedStore = Pick<Store, 'get' | 'list' | 'watch'>

/** A copy in a Map; a value that says so is refused. */
export class MapCopy implements Copy {
  loads = 0
  #map: Map<string, Change>

  constructor(entries: readonly (readonly [key: string, value: Change['value']])[] = []) {
    this.#map = new Map(entries.map(([key, value]) => [key, { key, value, revision: 1 }]))
  }

  get isEmpty(): boolean {
    return this.#map.size === 0
  }

  apply(change: Change): void {
    applyTo(this.#map, change)
  }

  startLoad(): CopyLoad {
    const map = new Map<string, Change>()
    return {
      apply: (change) => applyTo(map, change),
      keep: (key) => {
        const present = this.#map.get(key)
        if (present !== undefined) map.set(key, present)
      },
      finish: () => {
        this.#map = map
        this.loads += 1
      },
    }
  }

  keys(): string[] {
    return [...this.#map.keys()].sort()
  }

  value(key: string): Change['value'] {
    return this.#map.get(key)?.value
  }
}

function applyTo(map: Map<string, Change>, change: Change): void {
  if (change.revision <= (map.get(change.key)?.revision ?? 0)) return
  if (change.value?.poison === true) throw new Error('poisoned')
  if (change.value === undefined) map.delete(change.key)
  else map.set(change.key, change)
}

/** A store that can become another one, fail, wait, and be silent. */
export class SwitchingStore implements FedStore {
  current: Store
  /** In place of its own. */
  storeId: string | undefined
  failures: (Error | undefined)[] = []
  lists = 0
  /** What was asked of each list. */
  readonly limits: number[] = []
  pageLimit = Number.POSITIVE_INFINITY
  /** The revision up to which its feeds were taken. */
  taken = 0
  /** Its feeds say nothing. */
  isDeaf = false
  #gate: { readonly from: number; readonly open: Promise<void> } | undefined
  /** What the feed waits for after its first event. */
  pause: Promise<void> = Promise.resolve()
  #resync = Promise.withResolvers<FeedEvent>()

  constructor(current: Store) {
    this.current = current
  }

  /** The list after `count - 1` others does not answer until the gate is opened. */
  holdList(count = 1) {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#gate = { from: this.lists + count, open: promise }
    return { resolve }
  }

  resync(): void {
    this.#resync.resolve({ kind: 'resync' })
    this.#resync = Promise.withResolvers()
  }

  get(key: string) {
    return this.current.get(key)
  }

  async list(prefix: string, page: { after?: string; limit?: number } = {}) {
    this.lists += 1
    this.limits.push(page.limit ?? 1_000)
    const failure = this.failures.shift()
    if (failure !== undefined) throw failure
    const limit = Math.min(page.limit ?? 1_000, this.pageLimit)
    const found = await this.current.list(prefix, { ...page, limit })
    if (this.#gate !== undefined && this.lists >= this.#gate.from) await this.#gate.open
    return { ...found, storeId: this.storeId ?? found.storeId }
  }

  async *watch(from: number, signal: AbortSignal, mark?: string): AsyncIterable<FeedEvent> {
    const resync = this.#resync.promise
    const feed = this.current.watch(from, signal, mark)[Symbol.asyncIterator]()
    for (;;) {
      const next = this.isDeaf ? new Promise<never>((_, reject) => onAbort(signal, reject)) : feed.next()
      const event = await Promise.race([next.catch(() => ({ done: true, value: undefined })), resync])
      if ('kind' in event) yield event
      else if (event.done || event.value === undefined) return
      else {
        yield event.value
        if (event.value.kind === 'changes') this.taken = event.value.position.revision
        await this.pause
      }
    }
  }
}

function onAbort(signal: AbortSignal, reject: (reason: unknown) => void): void {
  signal.addEventListener('abort', () => reject(signal.reason))
}

export function bound(store: Store): FedStore {
  return { get: store.get.bind(store), list: store.list.bind(store), watch: store.watch.bind(store) }
}

export function linesOf({ lines }: { lines: readonly Line[] }, ...levels: Line['level'][]): readonly Line[] {
  return lines.filter(({ level }) => levels.includes(level))
}

export async function storeFor(t: Test, feedLimit = 10_000): Promise<Store> {
  const store = await startMemoryStore({ feedLimit })
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}

export async function followerFor(
  t: Test,
  store: FedStore,
  { copy = new MapCopy(), ...settings }: Partial<FollowerSettings> & { copy?: MapCopy } = {},
) {
  const log = createListLog()
  const follower = await startFollower(
    { store, log, copy },
    { ...FAST, prefixes: ['a/'], what: 'the copy', ...settings },
  )
  t.teardown(() => follower[Symbol.asyncDispose]())
  return { follower, copy, log }
}
