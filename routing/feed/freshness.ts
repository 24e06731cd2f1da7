/** For how long something has not been known to be fresh. */

export class Freshness {
  readonly #now: () => number
  #isFresh = false
  #provenAt = Number.NEGATIVE_INFINITY

  /** `now` in milliseconds, on a clock that never goes back. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** 0 while it is fresh, Infinity when it never was. */
  get ageMs(): number {
    return this.#isFresh ? 0 : this.#now() - this.#provenAt
  }

  prove(): void {
    this.#isFresh = true
    this.#provenAt = this.#now()
  }

  /** It was fresh that long ago. */
  proveLate(ageMs: number): void {
    this.#provenAt = this.#now() - ageMs
  }

  lose(): void {
    this.#isFresh = false
  }
}
