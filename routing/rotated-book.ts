/** Keys in the store that edges replace on a schedule: of several that change them at once, one does. */

import { commitUnlessLost, toDeletion, toWrite } from './certificates/books-store.ts'
import { type Kind, listRecords } from './records/record-kinds.ts'
import type { Store } from './store/store.ts'

/** `Put` is a key as it is written; its parts are checked then. */
export interface RotatedBook<Row, Put = Row> {
  /** Those whose use begins first come first; those that break a rule are left out. */
  list(): Promise<{ readonly keys: readonly Row[]; readonly version: number }>
  /** Writes and deletes all, or nothing: false when any key was changed since `version`. @throws RecordInvalid */
  change(
    change: { readonly put: readonly Put[]; readonly remove?: readonly string[] },
    version: number,
  ): Promise<boolean>
}

/** `fromOf` says when a key's use begins; ISO 8601. */
export function createRotatedBook<Row extends object, Put = Row>(
  store: Pick<Store, 'get' | 'list' | 'commit'>,
  kind: Kind<Row>,
  fromOf: (row: Row) => string,
): RotatedBook<Row, Put> {
  // Every change writes it, and finds it as it was when the keys were listed.
  const rotationKey = `rotation/${kind.prefix.slice(0, -1)}`
  return {
    list: async () => {
      // Before the keys: what comes afterwards changes it too.
      const version = (await store.get(rotationKey))?.revision ?? 0
      const keys: Row[] = []
      for await (const { record } of listRecords(store, kind)) keys.push(record)
      keys.sort((one, other) => Date.parse(fromOf(one)) - Date.parse(fromOf(other)))
      return { keys, version }
    },
    change: async ({ put, remove = [] }, version) => {
      const mutations = [
        { key: rotationKey, value: { follows: version }, ifRevision: version },
        ...put.map((key) => toWrite(kind, key)),
        ...remove.map((id) => toDeletion(kind.prefix + id)),
      ]
      return (await commitUnlessLost(store, mutations)) !== undefined
    },
  }
}
