/** A map that forgets what has not been asked for in a long time: bounded, and without work at each look-up. */

/** Holds at most `limit` entries, and at least the half of it that was used last. */
export class TwoGenerations<Value> {
  readonly #half: number
  #young = new Map<string, Value>()
  #old = new Map<string, Value>()

  constructor(limit: number) {
    this.#half = Math.max(1, Math.floor(limit / 2))
  }

  get size(): number {
    return this.#young.size + this.#old.size
  }

  find(key: string): Value | undefined {
    const value = this.#young.get(key)
    if (value !== undefined) return value
    const saved = this.#old.get(key)
    // Once a generation: what is asked for often stays.
    if (saved !== undefined) {
      this.#old.delete(key)
      this.set(key, saved)
    }
    return saved
  }

  set(key: string, value: Value): void {
    this.#old.delete(key)
    if (this.#young.size >= this.#half && !this.#young.has(key)) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, value)
  }

  delete(key: string): void {
    this.#young.delete(key)
    this.#old.delete(key)
  }
}
