/** Writes and deletes answers to challenges in a store, without the order that they belong to. */

import type { ChallengeRow } from '../../acme/rows.ts'
import type { Store } from '../../routing/store/store.ts'

type Writable = Pick<Store, 'commit'>

export async function putChallenges(store: Writable, rows: readonly ChallengeRow[]): Promise<void> {
  await store.commit(rows.map((row) => ({ key: `challenge/${row.id}`, value: { ...row } })))
}

export async function deleteChallenges(store: Writable, ids: readonly string[]): Promise<void> {
  await store.commit(ids.map((id) => ({ key: `challenge/${id}`, value: undefined })))
}
