/** The synchronous tables beneath an in-process store: documents, their feed, leases. */

import type { Change, Lease, StoredDocument } from './store.ts'

export const FEED_LIMIT = 10_000

/** One mutation as the tables take it; `json` is undefined for a deletion. */
export interface Write {
  readonly key: string
  readonly json: string | undefined
}

export interface Range {
  readonly prefix: string
  /** The key to read on from, exclusive. */
  readonly after: string
  readonly limit: number
}

export interface Tables {
  /** The global revision; each write adds one. */
  readonly revision: number
  /** The identity of these tables, for as long as their data lasts. */
  readonly storeId: string
  /** The oldest revision from which the feed has no gap. */
  readonly floor: number
  find(key: string): StoredDocument | undefined
  list(range: Range): readonly StoredDocument[]
  changesAfter(revision: number, limit: number): readonly Change[]
  /** Adds to the feed and returns the new revision. */
  write(write: Write): number
  /** A lease is kept after it has run out, for its token. */
  findLease(name: string): Lease | undefined
  putLease(lease: Lease): void
  /** Carries out all of `work` durably, or nothing of it when it throws. */
  transaction<Result>(work: () => Result): Result
  close(): void
}
