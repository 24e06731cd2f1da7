/** What this process knows of the store's history; it goes along with each script. */

import { randomBytes, randomUUID } from 'node:crypto'

/** Leaves room for as many revisions again before numbers are no longer exact. */
const MAX_SEEN = 2 ** 52

export class RedisHistory {
  readonly #feedLimit: string
  readonly #keys: readonly string[]
  readonly #nonce = randomBytes(9).toString('base64url')
  #count = 0
  #seen = 0

  /** `hashTag` is the prefix in braces. */
  constructor(hashTag: string, feedLimit: number) {
    this.#feedLimit = String(feedLimit)
    this.#keys = ['docs', 'keys', 'feed', 'meta'].map((name) => `${hashTag}:${name}`)
  }

  /** The store has shown this revision to somebody: it must never stand for anything else. */
  see(revision: number): void {
    if (revision > this.#seen && revision <= MAX_SEEN) this.#seen = revision
  }

  /** Keys and first arguments of a script; each time with a mark that nobody else makes. */
  open(): string[] {
    this.#count += 1
    const mark = `${this.#nonce}${this.#count.toString(36)}`
    return [...this.#keys, String(this.#seen), mark, randomUUID(), this.#feedLimit]
  }
}
