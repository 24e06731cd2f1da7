/** Remembers by digest what credentials were found to be, good and bad, so that each is verified once. */

import { AuthError } from '../errors.ts'
import { TwoGenerations } from './two-generations.ts'

export interface SeenCredentialsSettings {
  /** 50,000 by default. */
  readonly goodLimit?: number
  /** 5,000 by default. */
  readonly badLimit?: number
  /** Unix milliseconds. */
  readonly now?: () => number
}

const GOOD_LIMIT = 50_000
const BAD_LIMIT = 5_000
/** Long enough against the same forged token again and again, short enough to be wrong about. */
const BAD_MS = 30_000
/** What stays so, whatever keys arrive and however long one waits. */
const LASTING = new Set(['bad-signature', 'refused-jws'])

interface Bad {
  readonly reason: string
  readonly until: number
}

export class SeenCredentials<Identity> {
  readonly #good: TwoGenerations<Identity>
  readonly #bad: TwoGenerations<Bad>
  readonly #underWay = new Map<string, Promise<Identity>>()
  readonly #now: () => number

  constructor({
    goodLimit = GOOD_LIMIT,
    badLimit = BAD_LIMIT,
    now = Date.now,
  }: SeenCredentialsSettings = {}) {
    this.#good = new TwoGenerations(goodLimit)
    this.#bad = new TwoGenerations(badLimit)
    this.#now = now
  }

  /** @throws AuthError `auth_invalid` for one that is known to be bad */
  find(digest: string): Identity | undefined {
    const good = this.#good.find(digest)
    if (good !== undefined) return good
    const bad = this.#bad.find(digest)
    if (bad === undefined) return undefined
    if (this.#now() < bad.until) throw new AuthError('auth_invalid', bad.reason)
    this.#bad.delete(digest)
    return undefined
  }

  /**
   * Verifies, and remembers the outcome; those who ask while it is under way get the same one.
   * @throws what `verify` throws before it returns
   */
  verify(digest: string, verify: () => Promise<Identity>): Promise<Identity> {
    const underWay = this.#underWay.get(digest)
    if (underWay !== undefined) return underWay
    const outcome = this.#remember(digest, verify())
    this.#underWay.set(digest, outcome)
    return outcome
  }

  async #remember(digest: string, outcome: Promise<Identity>): Promise<Identity> {
    try {
      const identity = await outcome
      this.#good.set(digest, identity)
      return identity
    } catch (error) {
      if (error instanceof AuthError && LASTING.has(error.reason)) {
        this.#bad.set(digest, { reason: error.reason, until: this.#now() + BAD_MS })
      }
      throw error
    } finally {
      this.#underWay.delete(digest)
    }
  }
}
