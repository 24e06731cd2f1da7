/** The VM hello and its host names are made once for each domain, and never again when their owner took them away. */

import t, { type Test } from 'tap'
import { loadConfig } from '../../config.ts'
import { startHost } from '../../host.ts'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import type { Store } from '../../routing/store/store.ts'
import { deleteTestVm } from '../helpers/host.ts'
import { QUIET_LOG } from '../helpers/quiet-log.ts'

async function storeFor(t: Test): Promise<Store> {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}

/** Starts a host, looks, and ends it. */
async function runHost(t: Test, store: Store, domain: string, look = async () => {}): Promise<void> {
  const config = loadConfig({
    LANDFALL_DATA: t.testdir(),
    LANDFALL_DOMAIN: domain,
    LANDFALL_VMM: 'process',
  })
  await using _host = await startHost(config, { store, log: QUIET_LOG })
  await look()
}

t.test('a first start makes a VM that runs and can be reached by everybody', async (t) => {
  const store = await storeFor(t)
  await runHost(t, store, 'localhost', async () => {
    for (const hostname of ['hello.localhost', '8000--hello.localhost']) {
      t.match(await store.get(`route/${hostname}`), {
        value: { visibility: 'public', state: 'running', vm: 'hello', upstream: { host: '127.0.0.1' } },
      })
    }
    t.match(await store.get('host/local'), { value: { name: 'local', images: ['hello'] } })
    t.ok(await store.findLease('host/local'))
  })
  t.match(await store.get('route/hello.localhost'), { value: { state: 'stopped' } }, 'and ends with its host')
  t.match(await store.get('vm/hello'), { value: { state: 'running' } }, 'which is not what is wanted')
  t.equal(await store.findLease('host/local'), undefined)
})

t.test('a second domain on the same data gets its host names as well', async (t) => {
  const store = await storeFor(t)
  await runHost(t, store, 'localhost')
  await runHost(t, store, 'dev.test')
  t.match(await store.get('route/hello.localhost'), { value: { visibility: 'public', vm: 'hello' } })
  t.match(await store.get('route/hello.dev.test'), { value: { visibility: 'public', vm: 'hello' } })
})

t.test('a deleted host name stays deleted, and so does a deleted VM', async (t) => {
  const store = await storeFor(t)
  await runHost(t, store, 'localhost')
  await store.delete('binding/hello/hello.localhost')
  await store.delete('route/hello.localhost')
  await runHost(t, store, 'localhost')
  t.equal(await store.get('route/hello.localhost'), undefined)
  await deleteTestVm(store, 'hello')
  await runHost(t, store, 'localhost', async () => {
    t.equal(await store.get('vm/hello'), undefined)
    t.equal(await store.get('report/hello'), undefined)
  })
})

t.test('what its owner made private or stopped stays so', async (t) => {
  const store = await storeFor(t)
  await runHost(t, store, 'localhost')
  const vm = await store.get('vm/hello')
  await store.put('vm/hello', { ...vm?.value, ports: {}, state: 'stopped' })
  await runHost(t, store, 'localhost', async () => {
    t.match(await store.get('route/hello.localhost'), { value: { visibility: 'private', state: 'stopped' } })
    t.match(await store.get('report/hello'), { value: { state: 'stopped' } })
  })
})
