/** Names that one process of the fleet holds at a time: leases that are renewed, and a signal when one may be lost. */

import { randomUUID } from 'node:crypto'
import type { Log } from '../../lib/log.ts'
import { pause } from '../../lib/pause.ts'
import type { Lease } from '../store/store.ts'
import type { BooksDeps, BooksStore } from './books-store.ts'

/** Renewed until disposal, which aborts `signal` too, gives the name back, and never rejects. */
export interface Hold extends AsyncDisposable {
  /** Larger for each new holder of the name. */
  readonly token: number
  /** Aborted when the lease was lost, or cannot be known to be held any more. */
  readonly signal: AbortSignal
}

export interface HoldBook {
  /** Undefined while another holds it, in this process or any other. */
  find(name: string): Promise<Hold | undefined>
}

/** Of leases; other leases have other names. */
const PREFIX = 'hold/'
/** Of this process: the first part of each owner. */
const LIFE = randomUUID()
const RENEWALS_PER_TTL = 3
const RETRIES_PER_TTL = 15
/** What is left of the lease's time when it has not been renewed: for whoever has to stop. */
const MARGIN_PART = 10

export interface HoldBookSettings {
  readonly ttlMs: number
  /** No other process can have this store open, so whoever held a name in another one is dead, and is not waited for. */
  readonly isAlone: boolean
}

export function createHoldBook({ store, log }: BooksDeps, { ttlMs, isAlone }: HoldBookSettings): HoldBook {
  return {
    find: async (name) => {
      if (isAlone) await forgetDead(store, PREFIX + name)
      const askedAt = performance.now()
      const lease = await store.acquireLease(PREFIX + name, `${LIFE}/${randomUUID()}`, ttlMs)
      return lease && new KeptHold({ store, log }, { lease, askedAt, ttlMs })
    },
  }
}

async function forgetDead(store: BooksStore, key: string): Promise<void> {
  const lease = await store.findLease(key)
  if (lease !== undefined && !lease.owner.startsWith(`${LIFE}/`)) await store.releaseLease(lease)
}

interface HoldSettings {
  readonly lease: Lease
  readonly askedAt: number
  readonly ttlMs: number
}

class KeptHold implements Hold {
  readonly #store: BooksStore
  readonly #log: Log
  readonly #ttlMs: number
  readonly #lost = new AbortController()
  readonly #stop = new AbortController()
  readonly #running: Promise<void>
  #lease: Lease
  #end: NodeJS.Timeout | undefined

  constructor({ store, log }: BooksDeps, { lease, askedAt, ttlMs }: HoldSettings) {
    this.#store = store
    this.#log = log
    this.#ttlMs = ttlMs
    this.#lease = lease
    this.#trustFrom(askedAt)
    this.#running = this.#run()
  }

  get token(): number {
    return this.#lease.token
  }

  get signal(): AbortSignal {
    return this.#lost.signal
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#end)
    this.#stop.abort()
    this.#lost.abort()
    await this.#running
    try {
      await this.#store.releaseLease(this.#lease)
    } catch (error) {
      this.#log.warn({ err: error, name: this.#lease.name }, 'a lease could not be given back; it runs out')
    }
  }

  async #run(): Promise<void> {
    let waitMs = this.#ttlMs / RENEWALS_PER_TTL
    for (;;) {
      await pause(waitMs, this.#stop.signal)
      if (this.#lost.signal.aborted) return
      const isRenewed = await this.#renew()
      waitMs = this.#ttlMs / (isRenewed ? RENEWALS_PER_TTL : RETRIES_PER_TTL)
    }
  }

  async #renew(): Promise<boolean> {
    const askedAt = performance.now()
    try {
      const lease = await this.#store.renewLease(this.#lease, this.#ttlMs)
      if (lease === undefined) this.#lose('the lease ran out or was lost')
      else {
        this.#lease = lease
        this.#trustFrom(askedAt)
      }
      return lease !== undefined
    } catch (error) {
      this.#log.warn({ err: error, name: this.#lease.name }, 'a lease could not be renewed')
      return false
    }
  }

  /** The store counts from when it was asked or later, so it cannot be another's before this is over. */
  #trustFrom(askedAt: number): void {
    clearTimeout(this.#end)
    if (this.#lost.signal.aborted) return
    const leftMs = askedAt + this.#ttlMs - this.#ttlMs / MARGIN_PART - performance.now()
    this.#end = setTimeout(() => this.#lose('the lease could not be renewed in time'), leftMs)
  }

  #lose(reason: string): void {
    if (this.#lost.signal.aborted) return
    clearTimeout(this.#end)
    this.#log.warn({ name: this.#lease.name, reason }, 'what this process held may be held by another one')
    this.#lost.abort(new Error(reason))
  }
}
