/** The versioned document store that every part shares: one global revision, one change feed, leases. */

/** A JSON object; nothing else is stored. */
export type Document = { readonly [field: string]: unknown }

export interface StoredDocument {
  readonly key: string
  readonly value: Document
  /** The global revision of the write that made this value. */
  readonly revision: number
}

/** One mutation. `value` is undefined when the key was deleted. */
export interface Change {
  readonly revision: number
  readonly key: string
  readonly value: Document | undefined
}

/**
 * What a watcher is told. `changes` continue without a gap (there may be none, where a revision changed nothing); `resync` says that a gap could not be
 * filled: it is the last event, and the watcher must list again and watch from the listing's revision.
 */
export type FeedEvent =
  | { readonly kind: 'changes'; readonly changes: readonly Change[]; readonly position: Position }
  | { readonly kind: 'resync' }

/**
 * A place in the history of one store. After a failover or a restored backup the same revision may stand for
 * other changes than before; `mark` tells the two histories apart.
 */
export interface Position {
  readonly revision: number
  /** Opaque. Ends what was read at `revision`; equal marks mean the same history up to there. */
  readonly mark: string
}

export interface Page {
  readonly documents: readonly StoredDocument[]
  /** The store's global revision when the page was read: watch from here to miss nothing. */
  readonly revision: number
  /** Together with `revision` the page's position. */
  readonly mark: string
  /** The store's identity, made at its first write; a store that lost all its data has another one, or ''. */
  readonly storeId: string
  /** Give it as `after` to read on; absent on the last page. */
  readonly next?: string
}

export interface Lease {
  readonly name: string
  readonly owner: string
  /** Fencing token: larger for each new holder of the name, never reused. */
  readonly token: number
  /** Unix milliseconds. */
  readonly expiresAt: number
}

/** Writes fail with `RevisionConflict` when `ifRevision` is not the key's; 0 means "must not exist". */
export interface WriteCondition {
  readonly ifRevision?: number
}

/** One write of a commit. `value` is undefined to delete; deleting nothing is not a change. */
export interface Mutation extends WriteCondition {
  readonly key: string
  readonly value: Document | undefined
  /** Writes nothing, whatever `value` is: the commit fails when `ifRevision` does not hold, that is all. */
  readonly isCheck?: true
}

/** A write that needs more is several writes. */
export const MAX_MUTATIONS = 1_000

/** What a store may be told, tests above all. */
export interface StoreSettings {
  /** How many changes are kept for watchers that fall behind; 10,000 by default. */
  readonly feedLimit?: number
  /** The clock of leases, Unix milliseconds. */
  readonly now?: () => number
}

/** Once disposed, every method rejects with `store_closed` and every watch has ended. */
export interface Store extends AsyncDisposable {
  get(key: string): Promise<StoredDocument | undefined>
  /** Keys that start with `prefix`, in byte order. `after` is a key; `limit` defaults to 1,000. */
  list(prefix: string, page?: { readonly after?: string; readonly limit?: number }): Promise<Page>
  /**
   * Carries out all mutations or, when one condition fails, none. Returns a revision for each, in order; undefined
   * for a deletion of nothing and for a check. At most `MAX_MUTATIONS`, each key once. @throws RevisionConflict
   */
  commit(mutations: readonly Mutation[]): Promise<readonly (number | undefined)[]>
  /** Returns the new revision. @throws RevisionConflict */
  put(key: string, value: Document, condition?: WriteCondition): Promise<number>
  /** Returns the revision of the deletion, or undefined when there was nothing to delete. @throws RevisionConflict */
  delete(key: string, condition?: WriteCondition): Promise<number | undefined>
  /**
   * Every change after `fromRevision`, in order, until `signal` aborts (the iterator then ends). With the mark that
   * came with the revision, a store whose history differs there answers `resync`. Throws `store_unreachable` when
   * the store is lost: watch again from the last position to miss nothing.
   */
  watch(fromRevision: number, signal: AbortSignal, mark?: string): AsyncIterable<FeedEvent>
  /** The lease, or undefined while another owner's has not run out. The same owner gets its own lease extended, same token. */
  acquireLease(name: string, owner: string, ttlMs: number): Promise<Lease | undefined>
  /** The lease while somebody holds it. */
  findLease(name: string): Promise<Lease | undefined>
  /** The extended lease, or undefined when it was lost. */
  renewLease(lease: Lease, ttlMs: number): Promise<Lease | undefined>
  /** Does nothing when the lease was lost already. */
  releaseLease(lease: Lease): Promise<void>
}
