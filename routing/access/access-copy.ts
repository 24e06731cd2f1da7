/** The records of decisions as a copy that a feed follower keeps, which tells of each change. */

import type { Copy, CopyLoad } from '../feed/feed-load.ts'
import type { Change } from '../store/store.ts'
import { AccessRecords } from './access-records.ts'

export class AccessCopy implements Copy {
  readonly #now: () => number
  readonly #rings = new Set<() => void>()
  records: AccessRecords
  /** Goes up with each change that may make a decision another one. */
  version = 0

  /** `now` in Unix milliseconds. */
  constructor(now: () => number) {
    this.#now = now
    this.records = new AccessRecords(now)
  }

  get isEmpty(): boolean {
    return this.records.size === 0
  }

  /** Returns what ends it. */
  onChange(ring: () => void): () => void {
    // Who asks twice with one function has two ends to call.
    const own = () => ring()
    this.#rings.add(own)
    return () => this.#rings.delete(own)
  }

  /** @throws RecordInvalid */
  apply(change: Change): void {
    if (this.records.put(change)) this.#tell()
  }

  startLoad(): CopyLoad {
    const records = new AccessRecords(this.#now)
    return {
      apply: (change) => {
        records.put(change)
      },
      keep: (key) => records.takeFrom(this.records, key),
      finish: () => {
        this.records = records
        this.#tell()
      },
    }
  }

  #tell(): void {
    this.version += 1
    for (const ring of [...this.#rings]) ring()
  }
}
