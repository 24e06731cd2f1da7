/** Rows that were used of late as objects: two generations, of which the older is dropped when the younger is full. */

import type { RouteRecord } from '../records/records.ts'

/** About 20 MB of objects. A grant counts like a row, so that long lists do not make the cache larger. */
const GENERATION_WEIGHT = 65_536

type Generation = Map<string, RouteRecord>

export class RowCache {
  readonly #generationWeight: number
  #young: Generation = new Map()
  #weight = 0
  #old: Generation = new Map()
  /** From before the rows were built anew: each may have changed. */
  #doubted: readonly Generation[] = []

  constructor(generationWeight = GENERATION_WEIGHT) {
    this.#generationWeight = generationWeight
  }

  find(hostname: string): RouteRecord | undefined {
    const record = this.#young.get(hostname)
    if (record !== undefined) return record
    const old = this.#old.get(hostname)
    if (old !== undefined) this.add(old)
    return old
  }

  /** What was there before `doubtAll`; it is still right only when the row still says the same. */
  findDoubted(hostname: string): RouteRecord | undefined {
    for (const generation of this.#doubted) {
      const record = generation.get(hostname)
      if (record !== undefined) return record
    }
    return undefined
  }

  /** The key is the record's own text: what a client sent may be a piece of a text that is much longer. */
  add(record: RouteRecord): void {
    this.#young.set(record.hostname, record)
    this.#weight += 1 + (record.grants?.length ?? 0)
    if (this.#weight < this.#generationWeight) return
    this.#old = this.#young
    this.#begin()
    this.#doubted = []
  }

  delete(hostname: string): void {
    this.#young.delete(hostname)
    this.#old.delete(hostname)
  }

  doubtAll(): void {
    this.#doubted = [this.#young, this.#old]
    this.#old = new Map()
    this.#begin()
  }

  #begin(): void {
    this.#young = new Map()
    this.#weight = 0
  }
}
