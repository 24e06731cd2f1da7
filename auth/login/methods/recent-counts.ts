/** How often something happened in the last hour, by key, in bounded memory. */

import { TwoGenerations } from '../../tokens/two-generations.ts'

const HOUR_MS = 3_600_000
/** Whoever wants a key to be forgotten has to bring half as many others, each within its own limit. */
const MAX_KEYS = 20_000

export interface RecentCountsSettings {
  readonly perHour: number
  /** Unix milliseconds. */
  readonly now: () => number
}

export class RecentCounts {
  readonly #times = new TwoGenerations<readonly number[]>(MAX_KEYS)
  readonly #perHour: number
  readonly #now: () => number

  constructor({ perHour, now }: RecentCountsSettings) {
    this.#perHour = perHour
    this.#now = now
  }

  isFull(key: string): boolean {
    return this.#recent(key).length >= this.#perHour
  }

  add(key: string): void {
    this.#times.set(key, [...this.#recent(key), this.#now()].slice(-this.#perHour))
  }

  /** Takes the newest back: it came to nothing. */
  remove(key: string): void {
    this.#times.set(key, this.#recent(key).slice(0, -1))
  }

  #recent(key: string): readonly number[] {
    const since = this.#now() - HOUR_MS
    return (this.#times.find(key) ?? []).filter((time) => time > since)
  }
}
