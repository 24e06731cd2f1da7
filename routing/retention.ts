/** Deletes what has been kept long enough: audit and usage records, answers for Idempotency-Keys, what is left of logins, of certificates and of VMs that are gone. */

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../lib/log.ts'
import { deleteLostSightings } from './certificates/lost-sightings.ts'
import { UnservedNames } from './certificates/unserved-names.ts'
import { RevisionConflict } from './errors.ts'
import { type Expiry, isAfter, isUntil, LONG_LIVED, SHORT_LIVED } from './expiries.ts'
import { toAuditPrefix } from './records/audit-id.ts'
import { AUDITS, GRANTS, USAGES } from './records/record-kinds.ts'
import { compareKeys } from './store/key-order.ts'
import type { Lease, Page, Store, StoredDocument } from './store/store.ts'
import type { Sweep } from './sweep.ts'
import { deleteEndedGrants } from './vms/ended-grants.ts'

export interface RetentionDeps {
  readonly store: Pick<Store, 'get' | 'list' | 'commit' | 'acquireLease' | 'releaseLease'>
  readonly log: Log
}

export interface RetentionSettings {
  /** 90 by default. */
  readonly auditDays?: number
  /** 400 by default. */
  readonly usageDays?: number
  /** The platform's domain; without it, certificates of names that lead nowhere are kept. */
  readonly domain?: string
  /** From one sweep to the next; the first one is at the start. An hour by default. */
  readonly sweepMs?: number
  /** From one look for login codes, mails and challenges that have run out to the next. Two minutes by default. */
  readonly loginSweepMs?: number
  /** From one batch to the next. 500 by default. */
  readonly pauseMs?: number
  /** Unix milliseconds. */
  readonly now?: () => number
}

/** Held from one sweep to the next: one edge of a fleet at a time looks for what is old. */
const LEASE = 'retention'
/** An edge that is gone is followed by another after so many sweeps. */
const LEASE_SWEEPS = 2
/** Of one sweep; what it leaves is for the next, so that codes never wait for a million audit records. */
const BUDGET_MS = 60_000
const DAY_MS = 86_400_000
const DEFAULTS = {
  auditDays: 90,
  usageDays: 400,
  sweepMs: 3_600_000,
  loginSweepMs: 120_000,
  pauseMs: 500,
  now: Date.now,
}
const ANSWER_PREFIX = 'idempotency/'
const ANSWER_DAYS = 1
/** That long lists show what has ended. */
const GRANT_DAYS = 1
/** A clock of another edge may be behind, and what is to be deleted still count there. */
const MARGIN_MS = 3_600_000
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

type SweeperSettings = typeof DEFAULTS & Pick<RetentionSettings, 'domain'>

class Sweeper {
  readonly #deps: RetentionDeps
  readonly #settings: SweeperSettings
  readonly #signal: AbortSignal
  readonly #owner = randomUUID()
  #lease: Lease | undefined
  /** Sweeps until the next that looks for everything. */
  #untilFull = 0
  #deadline = 0
  readonly #unserved: UnservedNames | undefined
  /** For those who look for more. */
  readonly #sweep: Sweep

  constructor(deps: RetentionDeps, settings: SweeperSettings, signal: AbortSignal) {
    this.#deps = deps
    this.#settings = settings
    this.#signal = signal
    const { domain, now } = settings
    this.#unserved = domain === undefined ? undefined : new UnservedNames({ domain, now })
    this.#sweep = {
      store: deps.store,
      isOver: () => this.#isOver,
      remove: (documents) => this.#delete(documents),
    }
  }

  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      await this.#attempt(() => this.#sweepAsHolder())
      await this.#pause(this.#tickMs)
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

  get #tickMs(): number {
    return Math.min(this.#settings.sweepMs, this.#settings.loginSweepMs)
  }

  async #sweepAsHolder(): Promise<void> {
    const { store, log } = this.#deps
    const ttlMs = LEASE_SWEEPS * (this.#tickMs + 2 * BUDGET_MS)
    this.#lease = await store.acquireLease(LEASE, this.#owner, ttlMs)
    if (this.#lease === undefined) return
    const short = await this.#withinBudget(
      async () => (await this.#deleteExpired(SHORT_LIVED, 0)) + (await deleteLostSightings(this.#sweep)),
    )
    const deleted = short + (await this.#sweepOld())
    if (deleted > 0) log.info({ deleted }, 'old records were deleted')
  }

  /** Once in a while, and again at once for what a sweep has left. */
  async #sweepOld(): Promise<number> {
    if (this.#untilFull > 0) {
      this.#untilFull -= 1
      return 0
    }
    const { auditDays, usageDays, sweepMs } = this.#settings
    const deleted = await this.#withinBudget(
      async () =>
        (await this.#deleteExpired(LONG_LIVED, MARGIN_MS)) +
        (await this.#deleteBefore(AUDITS.prefix, toAuditPrefix(this.#daysAgo(auditDays)))) +
        (await this.#deleteUsage(this.#daysAgo(usageDays))) +
        (await this.#deleteAnswers()) +
        (await this.#deleteGrants()) +
        (await (this.#unserved?.sweep(this.#sweep) ?? 0)),
    )
    if (!this.#isOver) this.#untilFull = Math.ceil(sweepMs / this.#tickMs) - 1
    return deleted
  }

  #withinBudget(work: () => Promise<number>): Promise<number> {
    this.#deadline = performance.now() + BUDGET_MS
    return work()
  }

  get #isOver(): boolean {
    return this.#signal.aborted || performance.now() > this.#deadline
  }

  /** For keys that go by time: all those below `prefix` that sort before `end`. Returns how many. */
  async #deleteBefore(prefix: string, end: string): Promise<number> {
    for (let deleted = 0; ; ) {
      const { documents } = await this.#deps.store.list(prefix, { limit: BATCH })
      const old = documents.filter(({ key }) => key < end)
      deleted += await this.#delete(old)
      if (this.#isOver || old.length < BATCH) return deleted
    }
  }

  /** Goes from pool to pool without reading what is to be kept. */
  async #deleteUsage(before: Date): Promise<number> {
    let deleted = 0
    for (let after = ''; !this.#isOver; ) {
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

  #deleteAnswers(): Promise<number> {
    const before = this.#daysAgo(ANSWER_DAYS)
    return this.#deleteWhere(ANSWER_PREFIX, ({ value }) => !isAfter(value.at, before))
  }

  /** One VM after the other: its rows carry its grants, and change with them. */
  async #deleteGrants(): Promise<number> {
    const until = this.#daysAgo(GRANT_DAYS)
    const vms = new Set<string>()
    for (let after: string | undefined = ''; after !== undefined && !this.#isOver; ) {
      const page: Page = await this.#deps.store.list(GRANTS.prefix, { after, limit: BATCH })
      const old = page.documents.filter(({ value }) => isUntil(value.expiresAt, until))
      for (const { key } of old) vms.add(key.slice(GRANTS.prefix.length).split('/')[0] ?? '')
      after = page.next
    }
    let deleted = 0
    for (const vm of vms) {
      if (this.#isOver) break
      deleted += await this.#deleteGrantsOf(vm, until)
      await this.#pause(this.#settings.pauseMs)
    }
    return deleted
  }

  /** A VM that cannot be read must not keep those of others. */
  async #deleteGrantsOf(vm: string, until: Date): Promise<number> {
    const { store, log } = this.#deps
    try {
      return await deleteEndedGrants(store, vm, { until, now: new Date(this.#settings.now()) })
    } catch (error) {
      log.warn({ err: error, vm }, 'grants of a VM that ran out could not be deleted')
      return 0
    }
  }

  /** What ended more than `marginMs` ago. */
  async #deleteExpired(expiries: readonly Expiry[], marginMs: number): Promise<number> {
    const limit = new Date(this.#settings.now() - marginMs)
    let deleted = 0
    for (const { prefix, field } of expiries) {
      deleted += await this.#deleteWhere(prefix, ({ value }) => isUntil(value[field], limit))
    }
    return deleted
  }

  async #deleteWhere(prefix: string, isOld: (document: StoredDocument) => boolean): Promise<number> {
    let deleted = 0
    for (let after: string | undefined = ''; after !== undefined && !this.#isOver; ) {
      const page: Page = await this.#deps.store.list(prefix, { after, limit: BATCH })
      deleted += await this.#delete(page.documents.filter(isOld))
      after = page.next
    }
    return deleted
  }

  async #delete(documents: readonly StoredDocument[]): Promise<number> {
    if (documents.length === 0) return 0
    const isDone = await this.#commit(documents)
    await this.#pause(this.#settings.pauseMs)
    return isDone ? documents.length : 0
  }

  /** False when one of them was changed or taken meanwhile: all are left to the next sweep. */
  async #commit(documents: readonly StoredDocument[]): Promise<boolean> {
    try {
      await this.#deps.store.commit(
        documents.map(({ key, revision }) => ({ key, value: undefined, ifRevision: revision })),
      )
      return true
    } catch (error) {
      if (error instanceof RevisionConflict) return false
      throw error
    }
  }

  #daysAgo(days: number): Date {
    return new Date(this.#settings.now() - days * DAY_MS)
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#signal }).catch(() => {})
  }
}
