/** Runs the promises of the books of certificates over the memory, the SQLite and the Redis store. */

import t, { type Test } from 'tap'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import { startSqliteStore } from '../../routing/store/sqlite-store.ts'
import type { Store } from '../../routing/store/store.ts'
import { redisFor } from '../helpers/redis.ts'
import { loggedStoreFor } from '../helpers/redis-store.ts'
import type { BookStoreFor } from './book-bed.ts'
import { testBooks } from './books.ts'

const redis = await redisFor(t)
const IMPLEMENTATIONS: Readonly<Record<string, BookStoreFor>> = {
  'the memory store': async (t) => endWith(t, await startMemoryStore()),
  'the SQLite store': async (t) => endWith(t, await startSqliteStore(t.testdir())),
  'the Redis store': async (t) => (await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}` })).store,
}

for (const [name, storeFor] of Object.entries(IMPLEMENTATIONS)) {
  t.test(name, (t) => testBooks(t, storeFor))
}

function endWith(t: Test, store: Store): Store {
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}
