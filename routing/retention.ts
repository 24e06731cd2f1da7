/** Deletes what has been kept long enough: audit and usage records, and answers kept for Idempotency-Keys. */

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../lib/log.ts'
import { toAuditPrefix } from './records/audit-id.ts'
import { AUDITS, USAGES } from './records/record-kinds.ts'
import { compareKeys } from './store/key-order.ts'
import type { Lease, Page, Store, StoredDocument } from './store/store.ts'

export interface RetentionDeps {
  readonly store: Pick<Store, 'list' | 'commit' | 'acquireLease' | 'releaseLease'>
  readonly log: Log
}

export interface RetentionSettings {
  /** 90 by default. */
  readonly auditDays?: number
  /** 400 by default. */
  readonly usageDays?: number
  /** From one sweep to the next; the first one is at the start. An hour by default. */
  readonly sweepMs?: number
  /** From one batch to the next. 500 by default. */
  readonly pauseMs?: number
  /** Unix milliseconds. */
  readonly now?: () => number
}

/** Held from one sweep to the next: one edge of a fleet at a time looks for what is old. */
const LEASE = 'retention'
/** An edge that is gone is followed by another after so many sweeps. */
const LEASE_SWEEPS = 2
const DAY_MS = 86_400_000
const DEFAULTS = { auditDays: 90, usageDays: 400, sweepMs: 3_600_000, pauseMs: 500, now: Date.now }
const ANSWER_PREFIX = 'idempotency/'
const ANSWER_DAYS = 1
/** Every deletion is an entry of the bounded feed: at 200 a second a slow watcher is not left behind. */
const BATCH = 100
/** Sorts behind everything below a pool: hours begin with a digit. */
const BEHIND_HOURS = '~'

/** Sweeps until disposal, which ends a sweep between two batches. */
export function startRetention(deps: RetentionDeps, settings: RetentionSettings = {}): AsyncDisposable {
  const stop = new AbortController()
  const sweeper = new Sweeper(deps, { ...DEFAULTS, ...settings }, stop.signal)
  const running = sweeper.run()
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await running
    },
  }
}

class Sweeper {
  readonly #deps: RetentionDeps
  readonly #settings: Required<RetentionSettings>
  readonly #signal: AbortSignal
  readonly #owner = randomUUID()
  #lease: Lease | undefined

  constructor(deps: RetentionDeps, settings: Required<RetentionSettings>, signal: AbortSignal) {
    this.#deps = deps
    this.#settings = settings
    this.#signal = signal
  }

  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      await this.#attempt(() => this.#sweepAsHolder())
      await this.#pause(this.#settings.sweepMs)
    }
    await this.#attempt(async () => {
      if (this.#lease !== undefined) await this.#deps.store.releaseLease(this.#lease)
    })
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'old records could not be deleted; the next sweep tries again')
    }
  }

  async #sweepAsHolder(): Promise<void> {
    const { store, log } = this.#deps
    this.#lease = await store.acquireLease(LEASE, this.#owner, LEASE_SWEEPS * this.#settings.sweepMs)
    if (this.#lease === undefined) return
    const { auditDays, usageDays } = this.#settings
    const deleted =
      (await this.#deleteBefore(AUDITS.prefix, toAuditPrefix(this.#daysAgo(auditDays)))) +
      (await this.#deleteUsage(this.#daysAgo(usageDays))) +
      (await this.#deleteAnswers())
    if (deleted > 0) log.info({ deleted }, 'old records were deleted')
  }

  /** For keys that go by time: all those below `prefix` that sort before `end`. Returns how many. */
  async #deleteBefore(prefix: string, end: string): Promise<number> {
    for (let deleted = 0; ; ) {
      const { documents } = await this.#deps.store.list(prefix, { limit: BATCH })
      const old = documents.filter(({ key }) => key < end)
      deleted += await this.#delete(old)
      if (this.#signal.aborted || old.length < BATCH) return deleted
    }
  }

  /** Goes from pool to pool without reading what is to be kept. */
  async #deleteUsage(before: Date): Promise<number> {
    let deleted = 0
    for (let after = ''; !this.#signal.aborted; ) {
      const { documents } = await this.#deps.store.list(USAGES.prefix, { after, limit: 1 })
      const [first] = documents
      if (first === undefined) break
      const prefix = `${USAGES.prefix}${first.key.split('/')[1]}/`
      const end = prefix + before.toISOString()
      if (first.key < end) deleted += await this.#deleteBefore(prefix, end)
      const behind = prefix + BEHIND_HOURS
      after = compareKeys(first.key, behind) > 0 ? first.key : behind
    }
    return deleted
  }

  async #deleteAnswers(): Promise<number> {
    const before = this.#daysAgo(ANSWER_DAYS)
    let deleted = 0
    for (let after: string | undefined = ''; after !== undefined && !this.#signal.aborted; ) {
      const page: Page = await this.#deps.store.list(ANSWER_PREFIX, { after, limit: BATCH })
      deleted += await this.#delete(page.documents.filter(({ value }) => !isAfter(value.at, before)))
      after = page.next
    }
    return deleted
  }

  async #delete(documents: readonly StoredDocument[]): Promise<number> {
    if (documents.length === 0) return 0
    // A key that was taken anew meanwhile is left to the next sweep.
    await this.#deps.store.commit(
      documents.map(({ key, revision }) => ({ key, value: undefined, ifRevision: revision })),
    )
    await this.#pause(this.#settings.pauseMs)
    return documents.length
  }

  #daysAgo(days: number): Date {
    return new Date(this.#settings.now() - days * DAY_MS)
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#signal }).catch(() => {})
  }
}

/** False also for what cannot be read, which nobody can use. */
function isAfter(instant: unknown, limit: Date): boolean {
  return typeof instant === 'string' && Date.parse(instant) > limit.getTime()
}
