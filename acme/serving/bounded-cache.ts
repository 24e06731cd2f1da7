/** A map of bounded size that keeps what is asked for again: names that somebody walks through once push out one another only. */

/** What was asked for twice has this part of the places to itself. */
const KEPT_SHARE = 0.8

interface Place<Value> {
  value: Value
  /** Asked for since it came to where it is. */
  wasUsed: boolean
}

/**
 * New entries wait in `#young`; a second look-up moves them to `#kept`, where each further one only leaves a mark: a
 * `Map` that turns over with every look-up rehashes again and again. Who has a mark is passed over once (CLOCK).
 */
export class BoundedCache<Value, Key = string> {
  readonly #limit: number
  readonly #keptLimit: number
  readonly #onDrop: (key: Key) => void
  readonly #young = new Map<Key, Place<Value>>()
  readonly #kept = new Map<Key, Place<Value>>()

  /** `onDrop` is told of each entry that had to make room. */
  constructor(limit: number, onDrop: (key: Key) => void = () => {}) {
    this.#limit = Math.max(1, limit)
    this.#keptLimit = Math.floor(this.#limit * KEPT_SHARE)
    this.#onDrop = onDrop
  }

  get size(): number {
    return this.#young.size + this.#kept.size
  }

  find(key: Key): Value | undefined {
    const kept = this.#kept.get(key)
    if (kept !== undefined) {
      kept.wasUsed = true
      return kept.value
    }
    const young = this.#young.get(key)
    if (young === undefined) return undefined
    this.#young.delete(key)
    this.#kept.set(key, young)
    if (this.#kept.size > this.#keptLimit) this.#demote()
    return young.value
  }

  set(key: Key, value: Value): void {
    const kept = this.#kept.get(key)
    if (kept !== undefined) {
      kept.value = value
      return
    }
    this.#young.delete(key)
    this.#young.set(key, { value, wasUsed: false })
    if (this.size <= this.#limit) return
    for (const oldest of this.#young.keys()) {
      this.#young.delete(oldest)
      this.#onDrop(oldest)
      return
    }
  }

  delete(key: Key): void {
    this.#young.delete(key)
    this.#kept.delete(key)
  }

  /** The oldest one that was not used gives its place up, and may earn it again. Ends, as each mark is taken off. */
  #demote(): void {
    for (const [key, place] of this.#kept) {
      this.#kept.delete(key)
      const { wasUsed } = place
      place.wasUsed = false
      if (wasUsed) this.#kept.set(key, place)
      else {
        this.#young.set(key, place)
        return
      }
    }
  }
}
