/** The signing keys in the store: of several edges that change them at once, one does. */

import { RevisionConflict } from '../errors.ts'
import type { SigningKeyRecord } from '../records/logins.ts'
import { listRecords, SIGNING_KEYS } from '../records/record-kinds.ts'
import type { Store } from '../store/store.ts'

/** A key as it is written; its parts are checked then. */
export interface StoredSigningKey extends Omit<SigningKeyRecord, 'publicKey'> {
  readonly publicKey: Readonly<Record<string, string>>
}

export interface SigningKeyBook {
  /** Oldest first; those that break a rule are left out. */
  list(): Promise<{ readonly keys: readonly SigningKeyRecord[]; readonly version: number }>
  /** Writes all of `put`, or nothing: false when any key was changed since `version`. @throws RecordInvalid */
  change(change: { readonly put: readonly StoredSigningKey[] }, version: number): Promise<boolean>
}

/** Every change writes it, and finds it as it was when the keys were listed. */
const ROTATION_KEY = 'rotation/signing-key'

type BookStore = Pick<Store, 'get' | 'list' | 'commit'>

export function createSigningKeyBook(store: BookStore): SigningKeyBook {
  return {
    list: () => listKeys(store),
    change: ({ put }, version) => changeKeys(store, put, version),
  }
}

async function listKeys(store: BookStore): ReturnType<SigningKeyBook['list']> {
  // Before the keys: what comes afterwards changes it too.
  const version = (await store.get(ROTATION_KEY))?.revision ?? 0
  const keys: SigningKeyRecord[] = []
  for await (const { record } of listRecords(store, SIGNING_KEYS)) keys.push(record)
  keys.sort((one, other) => Date.parse(one.signsFrom) - Date.parse(other.signsFrom))
  return { keys, version }
}

async function changeKeys(
  store: BookStore,
  put: readonly StoredSigningKey[],
  version: number,
): Promise<boolean> {
  const records = put.map((key) => SIGNING_KEYS.parse(key))
  const writes = records.map((record) => ({ key: SIGNING_KEYS.keyOf(record), value: { ...record } }))
  const rotation = { key: ROTATION_KEY, value: { follows: version }, ifRevision: version }
  try {
    await store.commit([rotation, ...writes])
    return true
  } catch (error) {
    if (error instanceof RevisionConflict) return false
    throw error
  }
}
