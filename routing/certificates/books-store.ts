/** What the books of certificates need of the store, and a commit that somebody else's may forestall. */

import type { Log } from '../../lib/log.ts'
import { RevisionConflict } from '../errors.ts'
import { findRecord, type Kind } from '../records/record-kinds.ts'
import type { Document, Mutation, Store } from '../store/store.ts'

export interface BooksDeps {
  readonly store: Pick<
    Store,
    'get' | 'list' | 'commit' | 'acquireLease' | 'findLease' | 'renewLease' | 'releaseLease'
  >
  readonly log: Log
}

export type BooksStore = BooksDeps['store']

/** A row as the store has it. */
export interface Kept<Row> {
  readonly row: Row
  readonly revision: number
}

/** @throws RoutingError `api_record_broken` */
export async function findKept<Row>(
  store: Pick<Store, 'get'>,
  kind: Kind<Row>,
  name: string,
): Promise<Kept<Row> | undefined> {
  const stored = await findRecord(store, kind, name)
  return stored && { row: stored.record, revision: stored.revision }
}

/** The revisions, as of `Store.commit`; undefined when a condition does not hold. */
export async function commitUnlessLost(
  store: Pick<Store, 'commit'>,
  mutations: readonly Mutation[],
): Promise<readonly (number | undefined)[] | undefined> {
  try {
    return await store.commit(mutations)
  } catch (error) {
    if (error instanceof RevisionConflict) return undefined
    throw error
  }
}

/** The write of a whole record. @throws RecordInvalid */
export function toWrite<Row extends object>(kind: Kind<Row>, row: unknown, ifRevision?: number): Mutation {
  const record = kind.parse(row)
  return {
    key: kind.keyOf(record),
    value: { ...record } as Document,
    ...(ifRevision !== undefined && { ifRevision }),
  }
}

export function toDeletion(key: string, ifRevision?: number): Mutation {
  return { key, value: undefined, ...(ifRevision !== undefined && { ifRevision }) }
}
