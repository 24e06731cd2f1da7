/** A store's `commit` that can be told to fail, before or after its work is done, or to wait. */

import { RoutingError } from '../../../routing/errors.ts'
import type { Mutation, Store } from '../../../routing/store/store.ts'

export interface FlakyStore extends Pick<Store, 'commit'> {
  /** `away`: nothing happens; `lost`: it happens, and the answer is lost; a promise: it happens after that. */
  mode: 'sound' | 'away' | 'lost' | Promise<unknown>
  /** The sizes of all commits that were tried. */
  readonly sizes: number[]
}

export function flakyStoreOf(store: Pick<Store, 'commit'>): FlakyStore {
  const flaky: FlakyStore = {
    mode: 'sound',
    sizes: [],
    async commit(mutations: readonly Mutation[]) {
      const { mode } = flaky
      flaky.sizes.push(mutations.length)
      if (mode === 'away') throw new RoutingError('store_unreachable')
      if (mode instanceof Promise) await mode
      const revisions = await store.commit(mutations)
      if (mode === 'lost') throw new RoutingError('store_unreachable')
      return revisions
    },
  }
  return flaky
}
