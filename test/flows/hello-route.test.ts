/** The route of the VM hello is made once for each domain, and never again when its owner took it away. */

import t, { type Test } from 'tap'
import { loadConfig } from '../../config.ts'
import { startHost } from '../../host.ts'
import { startMemoryStore } from '../../routing/memory-store.ts'
import type { Store } from '../../routing/store.ts'

const log = { debug() {}, info() {}, warn() {}, error() {} }

async function storeFor(t: Test): Promise<Store> {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}

async function runHost(t: Test, store: Store, domain: string): Promise<void> {
  const config = loadConfig({ LANDFALL_DATA: t.testdir(), LANDFALL_DOMAIN: domain })
  const host = await startHost(config, { store, log })
  await host[Symbol.asyncDispose]()
}

t.test('a second domain on the same data gets its route as well', async (t) => {
  const store = await storeFor(t)
  await runHost(t, store, 'localhost')
  await runHost(t, store, 'dev.test')
  t.match(await store.get('route/hello.localhost'), { value: { visibility: 'public', vm: 'hello' } })
  t.match(await store.get('route/hello.dev.test'), { value: { visibility: 'public', vm: 'hello' } })
})

t.test('a deleted route stays deleted', async (t) => {
  const store = await storeFor(t)
  await runHost(t, store, 'localhost')
  await store.delete('route/hello.localhost')
  await runHost(t, store, 'localhost')
  t.equal(await store.get('route/hello.localhost'), undefined)
})
