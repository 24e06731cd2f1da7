/** Tells those who wait for a row that it may have changed; while nobody waits a change costs one comparison. */

export class RowBell {
  readonly #waiters = new Map<string, Set<() => void>>()
  readonly #ofAll = new Set<(hostname: string | undefined) => void>()

  get isAwaited(): boolean {
    return this.#waiters.size > 0 || this.#ofAll.size > 0
  }

  /** `ring` is called in the turn of each change, and must neither throw nor take long. Returns what ends it. */
  onRow(hostname: string, ring: () => void): () => void {
    const waiters = this.#waiters.get(hostname) ?? new Set()
    this.#waiters.set(hostname, waiters.add(ring))
    return () => {
      waiters.delete(ring)
      if (waiters.size === 0 && this.#waiters.get(hostname) === waiters) this.#waiters.delete(hostname)
    }
  }

  /** As `onRow` for every row; without a name any of them may have changed. */
  onAnyRow(ring: (hostname: string | undefined) => void): () => void {
    this.#ofAll.add(ring)
    return () => this.#ofAll.delete(ring)
  }

  ring(hostname: string): void {
    this.#ringOne(hostname)
    for (const ring of this.#ofAll) ring(hostname)
  }

  #ringOne(hostname: string): void {
    for (const ring of [...(this.#waiters.get(hostname) ?? [])]) ring()
  }

  /** After a load: any row may be another one. */
  ringAll(): void {
    for (const hostname of [...this.#waiters.keys()]) this.#ringOne(hostname)
    for (const ring of this.#ofAll) ring(undefined)
  }
}
