/** The store in one SQLite file: durable, for one process. */

import { randomUUID } from 'node:crypto'
import { chmod, mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { RoutingError } from '../errors.ts'
import { DocumentStore } from './document-store.ts'
import { SqliteTables } from './sqlite-tables.ts'
import type { Store, StoreSettings } from './store.ts'
import { FEED_LIMIT } from './tables.ts'

const SCHEMA_VERSION = 2
/** How long a starting process waits for a stopping one to let go of the file. */
const LOCK_WAIT_MS = 1_000
const OWNER_ONLY = 0o600

const SCHEMA = `
  CREATE TABLE documents (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL, revision INTEGER NOT NULL) STRICT;
  CREATE TABLE feed (revision INTEGER PRIMARY KEY NOT NULL, key TEXT NOT NULL, value TEXT) STRICT;
  CREATE TABLE leases (name TEXT PRIMARY KEY NOT NULL, owner TEXT NOT NULL, token INTEGER NOT NULL, expires_at INTEGER NOT NULL) STRICT;
  CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) STRICT;
  INSERT INTO meta (name, value) VALUES ('revision', 0);
`
/** What version 2 added: the store's identity. */
const SCHEMA_2 = `
  CREATE TABLE identity (value TEXT NOT NULL) STRICT;
  PRAGMA user_version = ${SCHEMA_VERSION};
`

/**
 * Opens or makes `landfall.sqlite` in `folder`, readable by its owner only.
 * @throws RoutingError `store_unusable` (another process has it open, among others) or `store_schema_newer`
 */
export async function startSqliteStore(folder: string, settings: StoreSettings = {}): Promise<Store> {
  const path = join(folder, 'landfall.sqlite')
  const database = await openDatabase(path)
  try {
    prepareDatabase(database)
    const tables = new SqliteTables(database, settings.feedLimit ?? FEED_LIMIT)
    return new DocumentStore(tables, settings.now)
  } catch (cause) {
    database.close()
    throw cause instanceof RoutingError ? cause : unusable(path, cause)
  }
}

async function openDatabase(path: string): Promise<DatabaseSync> {
  try {
    await mkdir(join(path, '..'), { recursive: true, mode: 0o700 })
    // SQLite gives the -wal file the mode of the database, so the mode is set before there is anything in it.
    const file = await open(path, 'a', OWNER_ONLY)
    await file.close()
    await chmod(path, OWNER_ONLY)
    return new DatabaseSync(path, { timeout: LOCK_WAIT_MS })
  } catch (cause) {
    throw unusable(path, cause)
  }
}

function prepareDatabase(database: DatabaseSync): void {
  // The feed is told of this process's writes only, so nobody else may write: the lock lasts until close.
  // FULL makes each commit wait for the disk; without it a power cut would take back acknowledged writes.
  database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;')
  database.exec('BEGIN IMMEDIATE')
  const version = Number(database.prepare('PRAGMA user_version').get()?.user_version)
  if (version > SCHEMA_VERSION) {
    const detail = `Its schema is version ${version}; this version of Landfall knows ${SCHEMA_VERSION}.`
    throw new RoutingError('store_schema_newer', { detail })
  }
  if (version === 0) database.exec(SCHEMA)
  if (version < SCHEMA_VERSION) {
    database.exec(SCHEMA_2)
    database.prepare('INSERT INTO identity (value) VALUES (?)').run(randomUUID())
  }
  database.exec('COMMIT')
}

function unusable(path: string, cause: unknown): RoutingError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new RoutingError('store_unusable', { cause, detail: `${path}: ${reason}.`, context: { path } })
}
