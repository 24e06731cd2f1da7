/** A store that can be away: every call fails and every watch ends, until it is back. */

import { RoutingError } from '../../routing/errors.ts'
import type { Store } from '../../routing/store/store.ts'

export interface AwayStore extends Store {
  goAway(): void
  /** Perhaps with another store behind it: a store that lost its data. */
  comeBack(other?: Store): void
}

/** Disposal is left to whoever made `inner`. */
export function createAwayStore(inner: Store): AwayStore {
  let store = inner
  let away: AbortController = new AbortController()
  const use = (): Store => {
    if (away.signal.aborted) throw new RoutingError('store_unreachable')
    return store
  }
  return {
    goAway: () => away.abort(),
    comeBack: (other = store) => {
      store = other
      away = new AbortController()
    },
    get: async (key) => use().get(key),
    list: async (prefix, page) => use().list(prefix, page),
    commit: async (mutations) => use().commit(mutations),
    put: async (key, value, condition) => use().put(key, value, condition),
    delete: async (key, condition) => use().delete(key, condition),
    async *watch(fromRevision, signal, mark) {
      const watched = use()
      const { signal: lost } = away
      yield* watched.watch(fromRevision, AbortSignal.any([signal, lost]), mark)
      if (lost.aborted) throw new RoutingError('store_unreachable')
    },
    acquireLease: async (name, owner, ttlMs) => use().acquireLease(name, owner, ttlMs),
    findLease: async (name) => use().findLease(name),
    renewLease: async (lease, ttlMs) => use().renewLease(lease, ttlMs),
    releaseLease: async (lease) => use().releaseLease(lease),
    [Symbol.asyncDispose]: async () => {},
  }
}
