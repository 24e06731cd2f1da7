/** Rows and feed entries of Redis as documents and changes; what nobody can read becomes a document that says so. */

import { toDocument } from './document-json.ts'
import type { Change, Document, StoredDocument } from './store.ts'

const UNREADABLE_CHARACTERS = 100

/** A stream's id and its fields, name and value in turn. */
export type RawEntry = readonly [id: string, fields: readonly string[]]

/** One entry of the feed. */
export interface FeedEntry {
  readonly revision: number
  readonly mark: string
  /** `<revision>:<mark>` of the entry before; undefined in one that this store did not write. */
  readonly before: string | undefined
  /** Undefined in an entry that only takes a revision. */
  readonly change: Change | undefined
  /** Characters of its value: what it weighs in memory, more or less. */
  readonly size: number
}

/**
 * The document of a row, `<revision>:<JSON>`. Without a revision it is at 0; a value that is no JSON object becomes
 * `{ unreadable: <its first 100 characters> }`, which no record's parser takes.
 */
export function toStoredDocument(key: string, row: string): StoredDocument {
  const digits = /^\d+/.exec(row)?.[0] ?? ''
  const revision = Number(digits)
  const isWhole = row[digits.length] === ':' && digits !== '' && Number.isSafeInteger(revision)
  if (!isWhole) return Object.freeze({ key, value: toUnreadable(row), revision: 0 })
  return Object.freeze({ key, value: toValue(row.slice(digits.length + 1)), revision })
}

/** A row of a listing that was read at `head`: a revision above it was never reached, and does not count. */
export function toListed(key: string, row: string, head: number): StoredDocument {
  const document = toStoredDocument(key, row)
  if (document.revision <= head) return document
  return Object.freeze({ key, value: toUnreadable(row), revision: 0 })
}

/** An entry with a key but neither value nor deletion is an unreadable change of that key. */
export function toFeedEntry([id, fields]: RawEntry): FeedEntry {
  const named: Record<string, string | undefined> = {}
  for (let index = 0; index < fields.length; index += 2) named[fields[index] ?? ''] = fields[index + 1]
  const { m: mark = '', p: before, k: key, v: json = '', d: deletion } = named
  const revision = Number.parseInt(id, 10)
  const isPut = key !== undefined && deletion === undefined
  const value = isPut ? toValue(json) : undefined
  const change = key === undefined ? undefined : Object.freeze({ revision, key, value })
  return { revision, mark, before, change, size: json.length }
}

function toValue(json: string): Document {
  try {
    const value: unknown = toDocument(json)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Document
  } catch (error) {
    // A RangeError is a value so deep that looking at it runs out of stack.
    if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error
  }
  return toUnreadable(json)
}

function toUnreadable(text: string): Document {
  return Object.freeze({ unreadable: text.slice(0, UNREADABLE_CHARACTERS).toWellFormed() })
}
