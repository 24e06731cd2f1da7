/** Runs the promises of a store over the memory and the SQLite implementation. */

import t, { type Test } from 'tap'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import { startSqliteStore } from '../../routing/store/sqlite-store.ts'
import type { Store } from '../../routing/store/store.ts'
import { type StoreFor, testStore } from './store.ts'

const IMPLEMENTATIONS: Readonly<Record<string, StoreFor>> = {
  'the memory store': async (t, settings) => endWith(t, await startMemoryStore(settings)),
  'the SQLite store': async (t, settings) => endWith(t, await startSqliteStore(t.testdir(), settings)),
}

for (const [name, storeFor] of Object.entries(IMPLEMENTATIONS)) {
  t.test(name, (t) => testStore(t, storeFor))
}

function endWith(t: Test, store: Store): Store {
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}
