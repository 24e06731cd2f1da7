/** Says that a feed is lost: at once, every half minute while it is, and when it is back. */

import type { Log } from '../../lib/log.ts'

const LOG_MS = 30_000

export class LossLog {
  readonly #log: Log
  readonly #what: string
  /** Undefined while the feed is not lost. */
  #loggedAt: number | undefined

  /** `what` has the feed: "the route table". */
  constructor(log: Log, what: string) {
    this.#log = log
    this.#what = what
  }

  lose(error: unknown, ageMs: number): void {
    const now = performance.now()
    if (this.#loggedAt !== undefined && now - this.#loggedAt < LOG_MS) return
    this.#loggedAt = now
    this.#log.warn({ err: error, ageMs }, `the feed of ${this.#what} is lost and will be tried again`)
  }

  recover(): void {
    if (this.#loggedAt !== undefined) this.#log.info({}, `${this.#what} follows the store again`)
    this.#loggedAt = undefined
  }
}
