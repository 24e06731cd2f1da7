/** The rules of leases: one holder at a time, and a fencing token that only grows. */

import type { Lease } from './store.ts'
import type { Tables } from './tables.ts'

export class LeaseBook {
  readonly #tables: Pick<Tables, 'findLease' | 'putLease'>
  readonly #now: () => number

  constructor(tables: Pick<Tables, 'findLease' | 'putLease'>, now: () => number) {
    this.#tables = tables
    this.#now = now
  }

  find(name: string): Lease | undefined {
    const last = this.#tables.findLease(name)
    return last !== undefined && last.expiresAt > this.#now() ? last : undefined
  }

  acquire(name: string, owner: string, ttlMs: number): Lease | undefined {
    const last = this.#tables.findLease(name)
    const isLive = last !== undefined && last.expiresAt > this.#now()
    if (isLive && last.owner !== owner) return undefined
    const token = isLive ? last.token : (last?.token ?? 0) + 1
    return this.#keep({ name, owner, token, expiresAt: this.#now() + ttlMs })
  }

  renew(lease: Lease, ttlMs: number): Lease | undefined {
    if (!this.#isHeld(lease)) return undefined
    const { name, owner, token } = lease
    return this.#keep({ name, owner, token, expiresAt: this.#now() + ttlMs })
  }

  release(lease: Lease): void {
    // The row stays: the next holder's token must be larger than this one.
    if (this.#isHeld(lease)) this.#keep({ ...lease, expiresAt: 0 })
  }

  #isHeld({ name, owner, token }: Lease): boolean {
    const last = this.#tables.findLease(name)
    return last?.owner === owner && last.token === token && last.expiresAt > this.#now()
  }

  #keep(lease: Lease): Lease {
    const kept = Object.freeze(lease)
    this.#tables.putLease(kept)
    return kept
  }
}
