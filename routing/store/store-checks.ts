/** What every store asks of its arguments. */

import { toJson } from './document-json.ts'
import { MAX_MUTATIONS, type Mutation, type WriteCondition } from './store.ts'

const MAX_KEY_CHARACTERS = 1_024

/** A mutation as stores take it. */
export interface StoreWrite extends WriteCondition {
  readonly key: string
  /** Undefined to delete. */
  readonly json: string | undefined
  readonly isCheck?: true
}

/** @throws TypeError when a key or a value cannot be stored */
export function toWrites(mutations: readonly Mutation[]): readonly StoreWrite[] {
  return mutations.map(({ value, ...rest }) => ({
    ...rest,
    json: value === undefined ? undefined : toJson(value),
  }))
}

/** The keys of one commit. @throws TypeError */
export function checkKeys(keys: readonly string[]): void {
  for (const key of keys) checkKey(key)
  const isFit = keys.length > 0 && keys.length <= MAX_MUTATIONS && new Set(keys).size === keys.length
  if (!isFit) throw new TypeError(`a commit has 1–${MAX_MUTATIONS} mutations, each of another key`)
}

/** @throws TypeError */
export function checkKey(key: string): void {
  const isKey =
    key.length > 0 && key.length <= MAX_KEY_CHARACTERS && key.isWellFormed() && !key.includes('\0')
  if (!isKey) throw new TypeError(`a key is 1–${MAX_KEY_CHARACTERS} characters of Unicode without NUL`)
}

/** @throws RangeError */
export function checkCount(name: string, value: number): void {
  if (!(Number.isSafeInteger(value) && value > 0)) throw new RangeError(`${name} must be a positive integer`)
}
