/** Names below the platform's domain, and what a first start puts there. */

import t, { type Test } from 'tap'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { putHostReport } from '../../../routing/vms/host-reports.ts'
import {
  impliedBindings,
  isReservedVmName,
  MAX_VM_NAME_CHARACTERS,
  seedPlatform,
} from '../../../routing/vms/platform.ts'

const GIB = 1_073_741_824
const LOCAL = { domain: 'localhost', host: 'local', owner: 'ada@example.test' }

async function storeFor(t: Test): Promise<Store> {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}

/** But for the mark that every change of a VM leaves. */
async function keysOf(store: Store): Promise<readonly string[]> {
  const keys = (await store.list('')).documents.map(({ key }) => key)
  return keys.filter((key) => key !== 'join/hello')
}

t.test('knows the names that mean something else', (t) => {
  for (const name of ['acme', 'admin', 'auth', 'ns', '8000--x', '1--', '0--a', '99999--b']) {
    t.ok(isReservedVmName(name), name)
  }
  for (const name of ['admin2', 'x-admin', 'acme-1', 'ns1', 'a--b', '8000-x', 'x--8000', '8000', 'a8--b']) {
    t.notOk(isReservedVmName(name), name)
  }
  t.end()
})

t.test('gives a VM its bare name and one for each declared port', (t) => {
  const ports = { 80: { visibility: 'public' }, 65535: { visibility: 'private' } } as const
  t.same(impliedBindings({ name: 'app', ports }, 'example.test'), [
    { vm: 'app', hostname: 'app.example.test' },
    { vm: 'app', hostname: '80--app.example.test', port: 80 },
    { vm: 'app', hostname: '65535--app.example.test', port: 65_535 },
  ])
  t.same(impliedBindings({ name: 'app', ports: {} }, 'localhost'), [{ vm: 'app', hostname: 'app.localhost' }])
  t.end()
})

t.test(
  'has room for every port in front of a name of the greatest length, and leaves out what is no host name',
  (t) => {
    const ports = { 65535: { visibility: 'private' } } as const
    const longest = 'a'.repeat(MAX_VM_NAME_CHARACTERS)
    t.equal(impliedBindings({ name: longest, ports }, 'example.test').length, 2)
    t.equal(impliedBindings({ name: `${longest}a`, ports }, 'example.test').length, 1)
    t.same(impliedBindings({ name: 'app', ports }, `${'b.'.repeat(124)}test`), [])
    t.end()
  },
)

t.test('puts a pool and a public VM with its host names into a new store, in one commit', async (t) => {
  const store = await storeFor(t)
  await seedPlatform(store, LOCAL)
  t.match(await store.get('pool/default'), {
    value: {
      cpuMillis: 2_000,
      memoryBytes: 4 * GIB,
      diskBytes: 10 * GIB,
      host: 'local',
      owner: 'ada@example.test',
    },
  })
  t.match(await store.get('vm/hello'), {
    value: { pool: 'default', image: 'hello', state: 'running', port: 8_000 },
  })
  t.same((await keysOf(store)).toSorted(), [
    'binding/hello/8000--hello.localhost',
    'binding/hello/hello.localhost',
    'pool/default',
    'route/8000--hello.localhost',
    'route/hello.localhost',
    'seed/hello.localhost',
    'vm/hello',
  ])
  t.match(await store.get('route/hello.localhost'), {
    value: { vm: 'hello', port: 8_000, visibility: 'public', state: 'stopped', pool: 'default' },
  })
})

t.test('gives hello its names below another domain as well, and changes nothing else', async (t) => {
  const store = await storeFor(t)
  await seedPlatform(store, LOCAL)
  const before = await store.get('vm/hello')
  await seedPlatform(store, { domain: 'dev.test', host: 'other', owner: 'ada@example.test' })
  t.same(await store.get('vm/hello'), before)
  t.match(await store.get('pool/default'), { value: { host: 'local' } })
  for (const hostname of ['hello.dev.test', '8000--hello.dev.test', 'hello.localhost']) {
    t.match(await store.get(`route/${hostname}`), { value: { vm: 'hello', visibility: 'public' } }, hostname)
  }
})

t.test('puts nothing back that a user took away', async (t) => {
  const store = await storeFor(t)
  await seedPlatform(store, LOCAL)
  for (const key of await keysOf(store)) if (!key.startsWith('seed/')) await store.delete(key)
  await seedPlatform(store, LOCAL)
  t.same(await keysOf(store), ['seed/hello.localhost'])
  await seedPlatform(store, { domain: 'dev.test', host: 'local', owner: 'ada@example.test' })
  t.same(await keysOf(store), ['seed/hello.dev.test', 'seed/hello.localhost'], 'nor below another domain')
})

t.test('leaves alone what a user routed or bought before', async (t) => {
  const store = await storeFor(t)
  const pool = {
    name: 'default',
    cpuMillis: 100,
    memoryBytes: 1,
    diskBytes: 1,
    createdAt: '2026-01-31T12:00:00Z',
  }
  const row = {
    hostname: 'hello.localhost',
    visibility: 'private',
    upstream: { host: '127.0.0.1', port: 9 },
    state: 'running',
    generation: 0,
  }
  await store.put('pool/default', pool)
  await store.put('route/hello.localhost', row)
  await seedPlatform(store, LOCAL)
  t.same((await store.get('pool/default'))?.value, pool)
  t.same((await store.get('route/hello.localhost'))?.value, row)
  t.equal(await store.get('binding/hello/hello.localhost'), undefined)
  t.match(await store.get('route/8000--hello.localhost'), { value: { vm: 'hello' } })
})

t.test('makes hello anew when its record cannot be read', async (t) => {
  const store = await storeFor(t)
  await seedPlatform(store, LOCAL)
  await store.put('vm/hello', { name: 'hello', state: 'running', generation: 1, ports: {} })
  await seedPlatform(store, LOCAL)
  t.match(await store.get('vm/hello'), { value: { pool: 'default', image: 'hello', state: 'running' } })
  t.match(await store.get('route/hello.localhost'), { value: { vm: 'hello', port: 8_000 } })
})

t.test('several starts at once seed once', async (t) => {
  const store = await storeFor(t)
  await Promise.all(Array.from({ length: 5 }, () => seedPlatform(store, LOCAL)))
  t.equal((await keysOf(store)).length, 7)
})

t.test('what was made runs once its host says so', async (t) => {
  const store = await storeFor(t)
  await seedPlatform(store, LOCAL)
  const ports = { 8000: { host: '127.0.0.1', port: 40_000 } }
  await putHostReport(store, { name: 'hello', host: 'local', state: 'running', ports })
  t.match(await store.get('route/hello.localhost'), {
    value: { state: 'running', upstream: { port: 40_000 }, generation: 1 },
  })
})
