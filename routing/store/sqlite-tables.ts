/** Documents, feed and leases as SQLite tables. */

import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite'
import { RoutingError } from '../errors.ts'
import { toDocument } from './document-json.ts'
import { compareKeys } from './key-order.ts'
import type { Change, Lease, StoredDocument } from './store.ts'
import type { Range, Tables, Write } from './tables.ts'

type Row = Record<string, SQLOutputValue>

const QUERIES = {
  find: 'SELECT key, value, revision FROM documents WHERE key = ?',
  // In byte order (BINARY collation); the rows after the prefix are cut off by the reader.
  listFrom: 'SELECT key, value, revision FROM documents WHERE key >= ? ORDER BY key LIMIT ?',
  listAfter: 'SELECT key, value, revision FROM documents WHERE key > ? ORDER BY key LIMIT ?',
  changes: 'SELECT revision, key, value FROM feed WHERE revision > ? ORDER BY revision LIMIT ?',
  put: `INSERT INTO documents (key, value, revision) VALUES (?, ?, ?)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision`,
  delete: 'DELETE FROM documents WHERE key = ?',
  feed: 'INSERT INTO feed (revision, key, value) VALUES (?, ?, ?)',
  trim: 'DELETE FROM feed WHERE revision <= ?',
  oldest: 'SELECT min(revision) AS value FROM feed',
  identity: 'SELECT value FROM identity',
  revision: "SELECT value FROM meta WHERE name = 'revision'",
  setRevision: "UPDATE meta SET value = ? WHERE name = 'revision'",
  findLease: 'SELECT name, owner, token, expires_at FROM leases WHERE name = ?',
  putLease: `INSERT INTO leases (name, owner, token, expires_at) VALUES (?, ?, ?, ?)
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, token = excluded.token, expires_at = excluded.expires_at`,
} as const

export class SqliteTables implements Tables {
  readonly #database: DatabaseSync
  readonly #feedLimit: number
  readonly storeId: string
  readonly #queries: Readonly<Record<keyof typeof QUERIES, StatementSync>>
  #revision: number
  #floor: number

  constructor(database: DatabaseSync, feedLimit: number) {
    this.#database = database
    this.#feedLimit = feedLimit
    this.#queries = prepareQueries(database)
    this.storeId = String(this.#queries.identity.get()?.value)
    this.#revision = Number(this.#queries.revision.get()?.value)
    const oldest = this.#queries.oldest.get()?.value
    this.#floor = typeof oldest === 'number' ? oldest - 1 : this.#revision
  }

  get revision(): number {
    return this.#revision
  }

  get floor(): number {
    return Math.max(this.#floor, this.#revision - this.#feedLimit)
  }

  find(key: string): StoredDocument | undefined {
    const row = read(() => this.#queries.find.get(key))
    return row && toStored(row)
  }

  list({ prefix, after, limit }: Range): readonly StoredDocument[] {
    const { listFrom, listAfter } = this.#queries
    const isFirst = compareKeys(after, prefix) < 0
    const rows = read(() => (isFirst ? listFrom.all(prefix, limit) : listAfter.all(after, limit)))
    const end = rows.findIndex((row) => !String(row.key).startsWith(prefix))
    return (end === -1 ? rows : rows.slice(0, end)).map(toStored)
  }

  changesAfter(revision: number, limit: number): readonly Change[] {
    return read(() => this.#queries.changes.all(revision, limit)).map(toChange)
  }

  write({ key, json }: Write): number {
    const revision = ++this.#revision
    if (json === undefined) this.#queries.delete.run(key)
    else this.#queries.put.run(key, json, revision)
    this.#queries.feed.run(revision, key, json ?? null)
    return revision
  }

  findLease(name: string): Lease | undefined {
    const row = read(() => this.#queries.findLease.get(name))
    return row && toLease(row)
  }

  putLease({ name, owner, token, expiresAt }: Lease): void {
    this.#queries.putLease.run(name, owner, token, expiresAt)
  }

  transaction<Result>(work: () => Result): Result {
    const before = this.#revision
    try {
      this.#database.exec('BEGIN IMMEDIATE')
      const result = work()
      if (this.#revision !== before) this.#advance()
      this.#database.exec('COMMIT')
      return result
    } catch (cause) {
      this.#revision = before
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      throw failed(cause)
    }
  }

  close(): void {
    this.#database.close()
  }

  #advance(): void {
    this.#queries.setRevision.run(this.#revision)
    this.#queries.trim.run(this.#revision - this.#feedLimit)
  }
}

function prepareQueries(database: DatabaseSync): Record<keyof typeof QUERIES, StatementSync> {
  const prepared = Object.entries(QUERIES).map(([name, sql]) => [name, database.prepare(sql)] as const)
  return Object.fromEntries(prepared) as Record<keyof typeof QUERIES, StatementSync>
}

function read<Result>(query: () => Result): Result {
  try {
    return query()
  } catch (cause) {
    throw failed(cause)
  }
}

function failed(cause: unknown): RoutingError {
  if (cause instanceof RoutingError) return cause
  const message = cause instanceof Error ? cause.message : String(cause)
  return new RoutingError('store_failed', { cause, context: { sqlite: message } })
}

function toStored(row: Row): StoredDocument {
  return Object.freeze({
    key: String(row.key),
    value: toDocument(String(row.value)),
    revision: Number(row.revision),
  })
}

function toChange(row: Row): Change {
  const { value } = row
  return Object.freeze({
    revision: Number(row.revision),
    key: String(row.key),
    value: typeof value === 'string' ? toDocument(value) : undefined,
  })
}

function toLease(row: Row): Lease {
  return {
    name: String(row.name),
    owner: String(row.owner),
    token: Number(row.token),
    expiresAt: Number(row.expires_at),
  }
}
