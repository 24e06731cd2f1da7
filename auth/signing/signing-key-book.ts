/** Where signing keys are kept, so that every edge signs with the same one; routing's book fits. */

import type { SigningKeyRow } from '../access.ts'

export interface SigningKeyBook {
  /** From the store, not from memory. @throws LandfallError `store_unreachable` */
  list(): Promise<SigningKeyList>
  /**
   * Writes all of `put` or nothing. False when any key was changed since `version`: of edges that add a key at the same
   * time, one succeeds. @throws LandfallError `store_unreachable`
   */
  change(change: { readonly put: readonly StoredSigningKey[] }, version: number): Promise<boolean>
}

export interface SigningKeyList {
  readonly keys: readonly StoredSigningKey[]
  /** Of the keys as a whole; another one after each change. */
  readonly version: number
}

export interface StoredSigningKey extends SigningKeyRow {
  /** ISO 8601. */
  readonly createdAt: string
}
