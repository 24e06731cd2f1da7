/** What a sweep of the retention lends to those who look for old records. */

import type { Store, StoredDocument } from './store/store.ts'

export interface Sweep {
  readonly store: Pick<Store, 'get' | 'list' | 'commit'>
  /** True when the rest is for the next sweep. */
  isOver(): boolean
  /** Returns how many it has deleted, and takes its time. */
  remove(documents: readonly StoredDocument[]): Promise<number>
}
