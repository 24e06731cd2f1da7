/** Those who want to be told of something, each until they end it. */

export class Rings<What> {
  readonly #rings = new Set<(what: What) => void>()

  get isAwaited(): boolean {
    return this.#rings.size > 0
  }

  /** `ring` must neither throw nor take long. Returns what ends it. */
  add(ring: (what: What) => void): () => void {
    // Who asks twice with one function has two ends to call.
    const own = (what: What) => ring(what)
    this.#rings.add(own)
    return () => this.#rings.delete(own)
  }

  ring(what: What): void {
    for (const ring of [...this.#rings]) ring(what)
  }
}
