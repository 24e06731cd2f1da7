/** The routes in memory: the hot path reads them synchronously, the store's feed keeps them fresh. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../lib/log.ts'
import { ROUTE_PREFIX, type RouteRecord } from './records.ts'
import { applyChange, findRow, type Rows, toHostnameOf } from './route-rows.ts'
import type { Store } from './store.ts'

export type Route = RouteRecord

export interface RouteTable {
  /** The row of a canonical host name: frozen, and the same object until its record changes. */
  find(hostname: string): Route | undefined
  readonly size: number
  /** The store's revision up to which the table is complete. */
  readonly revision: number
  /** True once the table was loaded; it stays true when the store is gone. */
  readonly ready: boolean
  /** For how long the feed has been lost; 0 while it is open, Infinity before the first load. */
  ageMs(): number
}

export interface RouteTableDeps {
  readonly store: Pick<Store, 'list' | 'watch'>
  readonly log: Log
}

export interface RouteTableSettings {
  /** The first wait after a lost feed; it doubles up to `maxRetryMs`. 100 by default. */
  readonly minRetryMs?: number
  /** 5,000 by default. */
  readonly maxRetryMs?: number
  /** Milliseconds on a clock that never goes back. */
  readonly now?: () => number
}

/**
 * Resolves after the first attempt to load. When the store is out of reach the table is empty and not
 * `ready`, and loads as soon as the store is back.
 */
export async function startRouteTable(
  deps: RouteTableDeps,
  settings: RouteTableSettings = {},
): Promise<RouteTable & AsyncDisposable> {
  const table = new FedTable(deps, settings)
  await table.start()
  return table
}

class FedTable implements RouteTable, AsyncDisposable {
  readonly #store: RouteTableDeps['store']
  readonly #log: Log
  readonly #settings: Required<RouteTableSettings>
  readonly #stop = new AbortController()
  #rows: Rows = new Map()
  #revision = 0
  /** A lost feed is taken up where it ended; only a gap in it makes the table list again. */
  #mustLoad = true
  #isReady = false
  #lostAt: number | undefined
  #failures = 0
  #running: Promise<void> = Promise.resolve()

  constructor({ store, log }: RouteTableDeps, settings: RouteTableSettings) {
    const { minRetryMs = 100, maxRetryMs = 5_000, now = () => performance.now() } = settings
    this.#store = store
    this.#log = log
    this.#settings = { minRetryMs, maxRetryMs, now }
  }

  get size(): number {
    return this.#rows.size
  }

  get revision(): number {
    return this.#revision
  }

  get ready(): boolean {
    return this.#isReady
  }

  find(hostname: string): Route | undefined {
    return this.#rows.get(hostname)?.route
  }

  ageMs(): number {
    if (!this.#isReady) return Number.POSITIVE_INFINITY
    return this.#lostAt === undefined ? 0 : this.#settings.now() - this.#lostAt
  }

  async start(): Promise<void> {
    await this.#attempt(() => this.#connect())
    this.#running = this.#run()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#attempt(() => this.#follow())
      await this.#pause()
    }
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (this.#stop.signal.aborted) return
      this.#lostAt ??= this.#settings.now()
      this.#log.warn({ err: error, ageMs: this.ageMs() }, 'the route feed is lost and will be tried again')
    }
  }

  async #follow(): Promise<void> {
    await this.#connect()
    for await (const event of this.#store.watch(this.#revision, this.#stop.signal)) {
      if (event.kind === 'resync') {
        this.#mustLoad = true
        return
      }
      for (const change of event.changes) {
        applyChange(this.#rows, change, this.#log)
        this.#revision = change.revision
      }
      this.#failures = 0
    }
  }

  /** Proves that the store answers: a feed that is merely quiet looks the same as a dead one. */
  async #connect(): Promise<void> {
    if (this.#mustLoad) await this.#load()
    else await this.#store.list(ROUTE_PREFIX, { limit: 1 })
    this.#lostAt = undefined
  }

  /** Builds the new rows completely before they replace the old ones. */
  async #load(): Promise<void> {
    const rows: Rows = new Map()
    const first = await this.#store.list(ROUTE_PREFIX)
    for (let page = first; ; page = await this.#store.list(ROUTE_PREFIX, { after: page.next })) {
      for (const document of page.documents) {
        const row = findRow(document, { before: this.#rows, log: this.#log })
        if (row) rows.set(toHostnameOf(document.key), row)
      }
      if (page.next === undefined) break
    }
    this.#rows = rows
    // The oldest page's: the feed from there holds all that later pages may have missed.
    this.#revision = first.revision
    this.#mustLoad = false
    this.#isReady = true
  }

  async #pause(): Promise<void> {
    const { minRetryMs, maxRetryMs } = this.#settings
    const delayMs = Math.min(maxRetryMs, minRetryMs * 2 ** this.#failures)
    this.#failures += 1
    await sleep(delayMs, undefined, { signal: this.#stop.signal }).catch(() => {})
  }
}
