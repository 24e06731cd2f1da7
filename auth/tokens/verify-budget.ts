/** How many credentials that do not count a client may have checked: a signature check costs more than sending a forged token. */

import { toClient } from '../../lib/client-address.ts'
import { AuthError } from '../errors.ts'
import { TwoGenerations } from './two-generations.ts'

export interface VerifyBudgetSettings {
  /** Of one client: an IPv4 address, or a /64 of IPv6, which one customer has. */
  readonly failuresPerSecond: number
  /** Unix milliseconds. */
  readonly now?: () => number
}

/** Seconds' worth of failures that a client may have at once. */
const BURST_S = 5
const MAX_CLIENTS = 20_000
/** Checks under way: of all, and of one client, so that none takes every place. */
const MAX_UNDER_WAY = 64
const MAX_UNDER_WAY_OF_ONE = 32

interface Bucket {
  tokens: number
  /** When `tokens` was right; Unix milliseconds. */
  at: number
  underWay: number
}

export class VerifyBudget {
  readonly #rate: number
  readonly #now: () => number
  readonly #buckets = new TwoGenerations<Bucket>(MAX_CLIENTS)
  #underWay = 0

  constructor({ failuresPerSecond, now = Date.now }: VerifyBudgetSettings) {
    this.#rate = failuresPerSecond
    this.#now = now
  }

  /**
   * Runs `verify` at the expense of a client; what counts gives its cost back.
   * @throws AuthError `auth_busy` at once, before anything is checked
   */
  spend<T>(clientAddress: string, verify: () => Promise<T>): Promise<T> {
    const bucket = this.#take(toClient(clientAddress))
    return this.#run(bucket, verify)
  }

  async #run<T>(bucket: Bucket, verify: () => Promise<T>): Promise<T> {
    let isForged = false
    try {
      return await verify()
    } catch (error) {
      isForged = error instanceof AuthError && error.code === 'auth_invalid'
      throw error
    } finally {
      this.#underWay -= 1
      bucket.underWay -= 1
      if (!isForged) bucket.tokens = Math.min(bucket.tokens + 1, this.#burst)
    }
  }

  get #burst(): number {
    return this.#rate * BURST_S
  }

  #take(client: string): Bucket {
    const now = this.#now()
    const bucket = this.#buckets.find(client) ?? { tokens: this.#burst, at: now, underWay: 0 }
    const gained = (Math.max(0, now - bucket.at) * this.#rate) / 1_000
    bucket.tokens = Math.min(bucket.tokens + gained, this.#burst)
    bucket.at = now
    this.#buckets.set(client, bucket)
    if (bucket.tokens < 1) throw new AuthError('auth_busy', 'client-failed-too-often')
    if (bucket.underWay >= MAX_UNDER_WAY_OF_ONE) throw new AuthError('auth_busy', 'client-checks-under-way')
    if (this.#underWay >= MAX_UNDER_WAY) throw new AuthError('auth_busy', 'checks-under-way')
    bucket.tokens -= 1
    bucket.underWay += 1
    this.#underWay += 1
    return bucket
  }
}
