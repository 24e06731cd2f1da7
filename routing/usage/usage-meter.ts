/** Sums what pools use in this run of a process, hour by hour, and keeps the sums in the store. */

import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../lib/log.ts'
import { RecordInvalid, RoutingError } from '../errors.ts'
import { USAGES } from '../records/record-kinds.ts'
import type { UsageCounts, UsageRecord } from '../records/records.ts'
import { MAX_MUTATIONS, type Mutation, type Store } from '../store/store.ts'

export interface UsageMeter {
  /**
   * Adds to what `pool` used in this hour: sums, except for `diskBytes`, of which the most counts. What is not a
   * number above 0 is left out. `counts` is not kept, so the caller may use it again.
   */
  add(pool: string, counts: Partial<UsageCounts>): void
}

export interface UsageMeterDeps {
  readonly store: Pick<Store, 'commit'>
  readonly log: Log
}

export interface UsageMeterSettings {
  /** An id of this run of this process, which no other run ever has. */
  readonly source: string
  /** What is counted in this time is lost when the process is killed. 60,000 by default. */
  readonly flushMs?: number
  /** For how long disposal tries to write the last counts to a store that is away. 5,000 by default. */
  readonly endLimitMs?: number
  /** Unix milliseconds. */
  readonly now?: () => number
}

const HOUR_MS = 3_600_000
const DEFAULT_FLUSH_MS = 60_000
/** While the store is away, each pool and hour stays in memory: 270 bytes each, 54 MB in all; then the oldest are lost. */
const MAX_HELD = 200_000
/** A source has 64 characters at most. */
const MAX_SOURCE_NAME = 40
const DEFAULT_END_LIMIT_MS = 5_000
const END_RETRY_MS = 200

type Counts = { -readonly [Name in keyof UsageCounts]: UsageCounts[Name] }

/** What one pool used in one hour. */
interface Total {
  readonly record: UsageRecord & { readonly counts: Counts }
  /** Not in the store as it is now, as far as is known. */
  isDue: boolean
}

/** Names one run of the edge or host `name` among all runs of all of them. */
export function createSource(name: string): string {
  const readable = name.replaceAll('.', '_').slice(0, MAX_SOURCE_NAME)
  return `${readable}-${Date.now().toString(36)}-${randomBytes(3).toString('hex')}`
}

/**
 * Writes the changed sums every `flushMs` and at disposal. A record holds absolute sums that only this run writes, so
 * one whose answer was lost is simply written again.
 */
export async function startUsageMeter(
  deps: UsageMeterDeps,
  settings: UsageMeterSettings,
): Promise<UsageMeter & AsyncDisposable> {
  return new HourlyMeter(deps, settings)
}

class HourlyMeter implements UsageMeter, AsyncDisposable {
  readonly #deps: UsageMeterDeps
  readonly #source: string
  readonly #endLimitMs: number
  readonly #now: () => number
  readonly #timer: NodeJS.Timeout
  /** Of this hour, by pool. */
  #totals = new Map<string, Total>()
  /** Of earlier hours, until they are written; oldest first. */
  #past: Total[] = []
  #hour: number
  /** How often the clock was set back over an hour. */
  #setbacks = 0
  #flushing: Promise<void> | undefined
  #isStoreClosed = false

  constructor(deps: UsageMeterDeps, settings: UsageMeterSettings) {
    const { source, flushMs = DEFAULT_FLUSH_MS, endLimitMs = DEFAULT_END_LIMIT_MS, now = Date.now } = settings
    this.#deps = deps
    this.#source = source
    this.#endLimitMs = endLimitMs
    this.#now = now
    this.#hour = this.#readHour()
    this.#timer = setInterval(() => void this.#flush(), flushMs)
    this.#timer.unref()
  }

  add(pool: string, added: Partial<UsageCounts>): void {
    const hour = this.#readHour()
    if (hour !== this.#hour) this.#turn(hour)
    const total = this.#totals.get(pool) ?? this.#open(pool)
    const { counts } = total.record
    total.isDue = true
    counts.cpuSeconds += amountOf(added.cpuSeconds)
    counts.memoryByteSeconds += amountOf(added.memoryByteSeconds)
    counts.diskBytes = Math.max(counts.diskBytes, amountOf(added.diskBytes))
    counts.replicatedBytes += amountOf(added.replicatedBytes)
    counts.egressBytes += amountOf(added.egressBytes)
    counts.requests += amountOf(added.requests)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    await this.#flushing
    await this.#flush()
    const deadline = performance.now() + this.#endLimitMs
    while (this.#mayTryAgain() && performance.now() < deadline) {
      await sleep(END_RETRY_MS)
      await this.#flush()
    }
    const lost = this.#findDue()
    if (lost.length > 0) this.#logLoss(lost)
  }

  #mayTryAgain(): boolean {
    return this.#findDue().length > 0 && !this.#isStoreClosed
  }

  #readHour(): number {
    return Math.floor(this.#now() / HOUR_MS)
  }

  #open(pool: string): Total {
    const hour = new Date(this.#hour * HOUR_MS).toISOString()
    const source = this.#setbacks === 0 ? this.#source : `${this.#source}-${this.#setbacks}`
    const counts = {
      cpuSeconds: 0,
      memoryByteSeconds: 0,
      diskBytes: 0,
      replicatedBytes: 0,
      egressBytes: 0,
      requests: 0,
    }
    const total: Total = { record: { pool, hour, source, counts }, isDue: false }
    this.#totals.set(pool, total)
    return total
  }

  #turn(hour: number): void {
    // An hour that begins again would overwrite its own sums: it is counted as another source.
    if (hour < this.#hour) this.#setbacks += 1
    // Those that are just being written as well: they are due again when that fails.
    this.#past.push(...this.#totals.values())
    this.#totals = new Map()
    this.#hour = hour
    const tooMany = this.#past.length - MAX_HELD
    if (tooMany > 0) this.#logLoss(this.#past.splice(0, tooMany))
  }

  #findDue(): Total[] {
    return [...this.#past, ...this.#totals.values()].filter(({ isDue }) => isDue)
  }

  /** One at a time; whoever asks meanwhile gets the one under way. */
  #flush(): Promise<void> {
    this.#flushing ??= this.#writeDue().finally(() => {
      this.#flushing = undefined
    })
    return this.#flushing
  }

  /** Never rejects: what could not be written is due at the next time. */
  async #writeDue(): Promise<void> {
    const hour = this.#readHour()
    if (hour !== this.#hour) this.#turn(hour)
    const due = this.#findDue()
    try {
      for (let start = 0; start < due.length; start += MAX_MUTATIONS) {
        await this.#write(due.slice(start, start + MAX_MUTATIONS))
      }
    } catch (error) {
      this.#isStoreClosed = error instanceof RoutingError && error.code === 'store_closed'
      this.#deps.log.warn({ err: error, records: due.length }, 'usage could not be written; it will be again')
    }
    this.#past = this.#past.filter(({ isDue }) => isDue)
  }

  async #write(totals: readonly Total[]): Promise<void> {
    const mutations = totals.flatMap((total) => this.#toMutations(total))
    // What is added from here on is not in the mutations.
    for (const total of totals) total.isDue = false
    try {
      if (mutations.length > 0) await this.#deps.store.commit(mutations)
    } catch (error) {
      for (const total of totals) total.isDue = true
      throw error
    }
  }

  /** A record that breaks its schema would keep all others out of the store. */
  #toMutations({ record }: Total): Mutation[] {
    try {
      const value = USAGES.parse({ ...record, counts: { ...record.counts } })
      return [{ key: USAGES.keyOf(value), value: { ...value } }]
    } catch (error) {
      if (!(error instanceof RecordInvalid)) throw error
      this.#deps.log.error({ err: error, ...record }, 'usage that is no record is left out')
      return []
    }
  }

  #logLoss(totals: readonly Total[]): void {
    const [oldest] = totals
    const fields = { records: totals.length, oldest: oldest?.record.hour }
    this.#deps.log.error(fields, 'usage is lost because the store was away for too long')
  }
}

/** Counters that were read backwards must not take anything off. */
function amountOf(value: number | undefined): number {
  return value !== undefined && value > 0 && value < Number.POSITIVE_INFINITY ? value : 0
}
