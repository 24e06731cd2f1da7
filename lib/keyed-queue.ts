/** Carries out work on named things one after the other, and work on different things side by side. */

export class KeyedQueue {
  readonly #tails = new Map<string, Promise<void>>()

  /**
   * Waits for all earlier work on any of `keys`. All are queued for in one moment, so that two calls never wait for
   * each other; work must not queue for more.
   */
  async run<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
    const before = keys.flatMap((key) => this.#tails.get(key) ?? [])
    const { promise, resolve } = Promise.withResolvers<void>()
    for (const key of keys) this.#tails.set(key, promise)
    try {
      await Promise.all(before)
      return await work()
    } finally {
      resolve()
      for (const key of keys) if (this.#tails.get(key) === promise) this.#tails.delete(key)
    }
  }

  /** Settles when all work queued so far is done. */
  async drain(): Promise<void> {
    await Promise.all(this.#tails.values())
  }
}
