/** Asks the store whether it is there, and tells for how long it has not answered. */

import type { Page, Store } from '../store/store.ts'
import { Freshness } from './freshness.ts'

export interface ContactSettings {
  readonly prefix: string
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number
}

export class StoreContact {
  readonly #store: Pick<Store, 'list'>
  readonly #prefix: string
  readonly #freshness: Freshness

  constructor(store: Pick<Store, 'list'>, { prefix, now }: ContactSettings) {
    this.#store = store
    this.#prefix = prefix
    this.#freshness = new Freshness(now)
  }

  /** 0 while it answers, Infinity when it never did. */
  get awayMs(): number {
    return this.#freshness.ageMs
  }

  /** The first documents. An answer alone does not end an absence: `prove` does. @throws Error */
  async ask(limit: number): Promise<Page> {
    try {
      return await this.#store.list(this.#prefix, { limit })
    } catch (error) {
      this.#freshness.lose()
      throw error
    }
  }

  /** It is back: it has given what was missing, or has had the time for it. */
  prove(): void {
    this.#freshness.prove()
  }
}
