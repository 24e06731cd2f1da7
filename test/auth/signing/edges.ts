/** Edges of a fleet as far as signing goes: real tables and books over one store, and a clock that a test turns. */

import type { Test } from 'tap'
import type { SigningKeyRow } from '../../../auth/access.ts'
import type { SignDemand } from '../../../auth/signing/signing.ts'
import {
  type SigningKeys,
  type SigningKeysDeps,
  startSigningKeys,
} from '../../../auth/signing/signing-keys.ts'
import { createSealer } from '../../../lib/seal.ts'
import { startAccessTable } from '../../../routing/access/access-table.ts'
import { createSigningKeyBook } from '../../../routing/access/signing-key-book.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { createListLog, type Line } from '../../helpers/list-log.ts'

export const ISSUER = 'https://auth.example.test'
export const HOST = 'web.example.test'
export const SECRET = Buffer.alloc(32, 7)
export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS

/** Unix milliseconds; a test sets it. */
export interface TestClock {
  ms: number
}

export interface EdgeSettings {
  readonly store: Store
  readonly clock: TestClock
  readonly keyDays?: number
  readonly tokenDays?: number
  /** Of the sealing key. */
  readonly secret?: Buffer
}

export interface SigningEdge {
  readonly keys: SigningKeys
  readonly access: SigningKeysDeps['access']
  readonly lines: readonly Line[]
}

export function createClock(instant = '2026-03-01T00:00:00Z'): TestClock {
  return { ms: Date.parse(instant) }
}

export async function storeFor(t: Test): Promise<Store> {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}

/** Ended with the test, before its store. */
export async function edgeFor(t: Test, settings: EdgeSettings): Promise<SigningEdge> {
  const { store, clock, keyDays = 42, tokenDays = 365, secret = SECRET } = settings
  const log = createListLog()
  const now = () => clock.ms
  const access = await startAccessTable({ store, log }, { wallClock: now })
  const book = createSigningKeyBook(store)
  const deps = { access, book, sealer: createSealer(secret), log }
  const keys = await startSigningKeys(deps, { issuer: ISSUER, keyDays, tokenDays, now })
  t.teardown(async () => {
    await keys[Symbol.asyncDispose]()
    await access[Symbol.asyncDispose]()
  })
  return { keys, access, lines: log.lines }
}

/** A demand that is fine but for what is given. */
export function demandOf(clock: TestClock, other: Partial<SignDemand> = {}): SignDemand {
  const expiresAt = Math.floor(clock.ms / 1_000) + 3_600
  return { kind: 'cookie', audience: HOST, subject: 'user-1', expiresAt, ...other }
}

export function kidOf(token: string): string {
  return JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()).kid
}

export function idsOf(rows: readonly SigningKeyRow[]): readonly string[] {
  return rows.map(({ id }) => id).toSorted()
}
