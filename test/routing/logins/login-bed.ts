/** A login book on each kind of store, with a clock that the test moves, for tests. */

import type { Test } from 'tap'
import type { LoginCode, LoginStore, MailLogin, Session } from '../../../auth/login/login-store.ts'
import { createLoginBook } from '../../../routing/logins/login-book.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import { startSqliteStore } from '../../../routing/store/sqlite-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { createListLog } from '../../helpers/list-log.ts'
import type { RedisProcess } from '../../helpers/redis.ts'
import { loggedStoreFor } from '../../helpers/redis-store.ts'

export const NOW = Date.parse('2026-06-01T12:00:00.000Z')

export type StoreFor = (t: Test) => Promise<Store>

export function storesOn(redis: RedisProcess): Readonly<Record<string, StoreFor>> {
  return {
    memory: memoryFor,
    SQLite: async (t) => endWith(t, await startSqliteStore(t.testdir())),
    Redis: async (t) => (await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}` })).store,
  }
}

export async function memoryFor(t: Test): Promise<Store> {
  return endWith(t, await startMemoryStore())
}

function endWith(t: Test, store: Store): Store {
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}

export async function bookFor(t: Test, storeFor: StoreFor = memoryFor) {
  const store = await storeFor(t)
  const clock = { ms: NOW }
  const log = createListLog()
  // What auth asks for.
  const book: LoginStore = createLoginBook({ store, log, now: () => new Date(clock.ms) })
  return { store, book, clock, log }
}

export function instant(afterMs: number): string {
  return new Date(NOW + afterMs).toISOString()
}

export function sessionOf(id: string, more: Partial<Session> = {}): Session {
  const person = { user: 'ada', email: 'ada@example.test', name: 'Ada' }
  return {
    ...person,
    id,
    method: 'oidc',
    createdAt: instant(-1_000),
    expiresAt: instant(86_400_000),
    ...more,
  }
}

export function codeOf(session: Session, more: Partial<LoginCode> = {}): LoginCode {
  return {
    hostname: 'web.example.test',
    challenge: digestOf('c'),
    session,
    expiresAt: instant(60_000),
    ...more,
  }
}

export function mailOf(more: Partial<MailLogin> = {}): MailLogin {
  return {
    email: 'ada@example.test',
    browser: digestOf('b'),
    flow: 'sealed',
    expiresAt: instant(600_000),
    ...more,
  }
}

export function digestOf(letter: string): string {
  return letter.repeat(43)
}
