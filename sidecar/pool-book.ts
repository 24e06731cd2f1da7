/** The pools that are placed on this host, with their limits, which their cgroups get as soon as they can. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../lib/log.ts'
import type { PoolGroups, PoolLimits } from './pools/pool-groups.ts'
import { Reporter, type ReporterSettings } from './reporter.ts'

/** What was bought. */
export interface HostedPool extends PoolLimits {
  readonly name: string
  readonly diskBytes: number
}

export interface PoolBookDeps {
  readonly groups: Pick<PoolGroups, 'setPool' | 'removePool'>
  readonly log: Log
}

interface Entry {
  readonly pool: HostedPool
  readonly limiter: Reporter<PoolLimits>
}

interface Leaving {
  readonly over: Promise<void>
  /** Ends further tries. */
  readonly giveUp: AbortController
}

interface Removal {
  readonly tries: number
  readonly pauseMs: number
}

const RETRIES: ReporterSettings = { retryMs: 1_000, maxRetryMs: 30_000 }
/** Its VMs may still be on their way out, and a group with VMs stays. */
const REMOVAL: Removal = { tries: 12, pauseMs: 5_000 }

/** Every call returns at once; a group that cannot be changed is tried again until it is. */
export class PoolBook implements AsyncDisposable {
  readonly #deps: PoolBookDeps
  readonly #pools = new Map<string, Entry>()
  /** Groups on their way out: a pool that comes back waits for that, or its new group would go. */
  readonly #leaving = new Map<string, Leaving>()
  readonly #removal: Removal

  constructor(deps: PoolBookDeps, removal: Removal = REMOVAL) {
    this.#deps = deps
    this.#removal = removal
  }

  set(pool: HostedPool): void {
    const limiter = this.#pools.get(pool.name)?.limiter ?? this.#createLimiter(pool.name)
    this.#pools.set(pool.name, { pool, limiter })
    limiter.publish(pool)
  }

  #createLimiter(name: string): Reporter<PoolLimits> {
    const { groups, log } = this.#deps
    const before = this.#leaving.get(name)
    before?.giveUp.abort()
    const report = async (limits: PoolLimits) => {
      await before?.over
      await groups.setPool(name, limits)
    }
    return new Reporter<PoolLimits>({ report, log, about: { pool: name } }, RETRIES)
  }

  /** A group that cannot be removed is found and removed at the end. */
  drop(name: string): void {
    const entry = this.#pools.get(name)
    this.#pools.delete(name)
    const giveUp = new AbortController()
    const over = this.#remove(name, entry, giveUp.signal).finally(() => {
      if (this.#leaving.get(name) === leaving) this.#leaving.delete(name)
    })
    const leaving = { over, giveUp }
    this.#leaving.set(name, leaving)
  }

  /** Never rejects. */
  async #remove(name: string, entry: Entry | undefined, signal: AbortSignal): Promise<void> {
    const { groups, log } = this.#deps
    const { tries, pauseMs } = this.#removal
    await entry?.limiter[Symbol.asyncDispose]()
    for (let left = tries; left > 0 && !this.#pools.has(name); left -= 1) {
      try {
        return await groups.removePool(name)
      } catch (error) {
        const isLast = left === 1 || signal.aborted
        if (isLast) return log.warn({ pool: name, err: error }, 'the cgroup of a pool stays')
      }
      await sleep(pauseMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }

  find(name: string): HostedPool | undefined {
    return this.#pools.get(name)?.pool
  }

  list(): readonly HostedPool[] {
    return [...this.#pools.values()].map(({ pool }) => pool)
  }

  /** Settles when the limits that were set last were tried once. */
  async attempted(name: string): Promise<void> {
    await this.#pools.get(name)?.limiter.attempted()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { giveUp } of this.#leaving.values()) giveUp.abort()
    await Promise.all([...this.#leaving.values()].map(({ over }) => over))
    await Promise.all([...this.#pools.values()].map(({ limiter }) => limiter[Symbol.asyncDispose]()))
  }
}
