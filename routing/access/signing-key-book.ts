/** The keys that tokens are signed with, in the store. */

import type { SigningKeyRecord } from '../records/logins.ts'
import { SIGNING_KEYS } from '../records/record-kinds.ts'
import { createRotatedBook, type RotatedBook } from '../rotated-book.ts'
import type { Store } from '../store/store.ts'

/** A key as it is written; its parts are checked then. */
export interface StoredSigningKey extends Omit<SigningKeyRecord, 'publicKey'> {
  readonly publicKey: Readonly<Record<string, string>>
}

export type SigningKeyBook = RotatedBook<SigningKeyRecord, StoredSigningKey>

export function createSigningKeyBook(store: Pick<Store, 'get' | 'list' | 'commit'>): SigningKeyBook {
  return createRotatedBook(store, SIGNING_KEYS, ({ signsFrom }) => signsFrom)
}
