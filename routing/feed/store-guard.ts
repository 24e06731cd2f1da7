/** Keeps a good copy from being replaced by what a store holds that lost its data, or is another store. */

import type { Log } from '../../lib/log.ts'
import type { Store } from '../store/store.ts'

export interface GuardDeps {
  readonly store: Pick<Store, 'get'>
  readonly log: Log
  readonly copy: { readonly isEmpty: boolean }
}

/** Of one log line about a held copy and the next. */
const LOG_MS = 60_000

export class StoreGuard {
  readonly #deps: GuardDeps
  readonly #what: string
  #loggedAt = Number.NEGATIVE_INFINITY

  /** `what` is the copy in words: "the route table". */
  constructor(deps: GuardDeps, what: string) {
    this.#deps = deps
    this.#what = what
  }

  /** Whether a copy of `oldId` stays as it is although the store is now `newId`; logged once a minute. */
  async mustHold(newId: string, oldId: string): Promise<boolean> {
    const { store, copy } = this.#deps
    // A store without an id was never written to: there was nothing to lose.
    if (copy.isEmpty || oldId === '') return false
    if (newId !== '' && (await store.get(`accept/${newId}`)) !== undefined) return false
    this.#report({ storeId: oldId, newStoreId: newId })
    return true
  }

  #report(fields: Record<string, unknown>): void {
    const now = performance.now()
    if (now - this.#loggedAt < LOG_MS) return
    this.#loggedAt = now
    const message = `the store lost its data or is another one: ${this.#what} stays as it is until POST /v1/table/accept`
    this.#deps.log.error(fields, message)
  }
}
