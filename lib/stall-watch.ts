/** Notices which of many writers have bytes pending that do not move. */

export interface Pending {
  /** What the bytes belong to; forgotten with it. */
  readonly subject: object
  readonly bytes: number
  /** `performance.now()`. */
  readonly now: number
}

export class StallWatch {
  readonly #limitMs: number
  readonly #seen = new WeakMap<object, Pending>()

  constructor(limitMs: number) {
    this.#limitMs = limitMs
  }

  /** True when the same number of bytes has been pending for longer than the limit. */
  isStalled(pending: Pending): boolean {
    if (pending.bytes === 0) {
      this.#seen.delete(pending.subject)
      return false
    }
    const before = this.#seen.get(pending.subject)
    if (before?.bytes === pending.bytes) return pending.now - before.now > this.#limitMs
    this.#seen.set(pending.subject, pending)
    return false
  }
}
