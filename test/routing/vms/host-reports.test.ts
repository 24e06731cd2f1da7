/** What a host may write of a VM: its own affairs, and a generation that tells owners apart. */

import t, { type Test } from 'tap'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { putHostReport } from '../../../routing/vms/host-reports.ts'
import { seedPlatform } from '../../../routing/vms/platform.ts'

const PORTS = { 8000: { host: '127.0.0.1', port: 40_000 } }
const RUNNING = { name: 'hello', host: 'a', state: 'running', ports: PORTS } as const
const STOPPED = { name: 'hello', host: 'a', state: 'stopped', ports: {} } as const

/** The VM hello in a pool on host `a`. */
async function storeFor(t: Test): Promise<Store> {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  await seedPlatform(store, { domain: 'localhost', host: 'a', owner: 'ada@example.test' })
  return store
}

async function place(store: Store, host: string): Promise<void> {
  const pool = await store.get('pool/default')
  await store.put('pool/default', { ...pool?.value, host })
}

async function reportOf(store: Store) {
  return (await store.get('report/hello'))?.value
}

t.test('keeps its generation through stops and restarts', async (t) => {
  const store = await storeFor(t)
  for (const report of [RUNNING, STOPPED, RUNNING]) {
    await putHostReport(store, report)
    t.same(await reportOf(store), { ...report, ports: PORTS, generation: 1 })
  }
  t.match(await store.get('route/hello.localhost'), { value: { upstream: PORTS[8000], generation: 1 } })
})

t.test('leaves the default port of a VM that stops where it was', async (t) => {
  const store = await storeFor(t)
  const { value = {} } = (await store.get('vm/hello')) ?? {}
  const { port: _, ...unpinned } = value
  await store.put('vm/hello', unpinned)
  await putHostReport(store, RUNNING)
  await putHostReport(store, STOPPED)
  const row = (await store.get('route/hello.localhost'))?.value
  t.match(row, { port: 8000, visibility: 'public', state: 'stopped' })
  t.notOk(row?.upstream, 'nobody dials it')
})

t.test('takes the next generation from another host, which then may say no more', async (t) => {
  const store = await storeFor(t)
  await putHostReport(store, RUNNING)
  await place(store, 'b')
  await putHostReport(store, { ...RUNNING, host: 'b' })
  t.match(await reportOf(store), { host: 'b', state: 'running', generation: 2 })
  await putHostReport(store, STOPPED)
  t.match(await reportOf(store), { host: 'b', state: 'running', generation: 2 }, 'too late')
  t.match(await store.get('route/hello.localhost'), { value: { state: 'running' } })
  await place(store, 'a')
  await putHostReport(store, RUNNING)
  t.match(await reportOf(store), { host: 'a', generation: 3 })
})

t.test('may say that a VM stopped that was its own', async (t) => {
  const store = await storeFor(t)
  await putHostReport(store, RUNNING)
  await place(store, 'b')
  await putHostReport(store, STOPPED)
  t.match(await reportOf(store), { host: 'a', state: 'stopped', generation: 1 })
})

t.test('writes nothing of a VM of another host, or of none', async (t) => {
  const store = await storeFor(t)
  await putHostReport(store, { ...RUNNING, host: 'b' })
  await putHostReport(store, { ...RUNNING, name: 'absent' })
  await store.delete('pool/default')
  await putHostReport(store, RUNNING)
  t.same((await store.list('report/')).documents, [])
})

t.test('leaves nothing behind of a VM that was deleted', async (t) => {
  const store = await storeFor(t)
  await putHostReport(store, RUNNING)
  await store.delete('vm/hello')
  await putHostReport(store, STOPPED)
  t.equal(await reportOf(store), undefined)
})

t.test('writes nothing twice', async (t) => {
  const store = await storeFor(t)
  await putHostReport(store, RUNNING)
  const { revision } = await store.list('', { limit: 1 })
  await putHostReport(store, RUNNING)
  t.equal((await store.list('', { limit: 1 })).revision, revision)
})

t.test('replaces a report that cannot be read, which nobody else would', async (t) => {
  const store = await storeFor(t)
  await store.put('report/hello', { name: 'hello', ports: 'many' })
  await putHostReport(store, RUNNING)
  t.match(await reportOf(store), { host: 'a', state: 'running', generation: 1 })
})

t.test('leaves a VM that cannot be read to those who wrote it', async (t) => {
  const store = await storeFor(t)
  await store.put('vm/hello', { name: 'hello' })
  await t.rejects(putHostReport(store, RUNNING), { code: 'api_record_broken' })
  t.same((await store.get('vm/hello'))?.value, { name: 'hello' })
})

t.test('two hosts that report at once end with the one that the pool is placed on', async (t) => {
  const store = await storeFor(t)
  await place(store, 'b')
  for (let round = 0; round < 20; round += 1) {
    await Promise.all([putHostReport(store, STOPPED), putHostReport(store, { ...RUNNING, host: 'b' })])
    t.match(await reportOf(store), { host: 'b', state: 'running' })
    await store.delete('report/hello')
  }
})

t.test('keeps the ports, the default port and the host key of a VM that is asleep', async (t) => {
  const store = await storeFor(t)
  const { value = {} } = (await store.get('vm/hello')) ?? {}
  const { port: _, ...unpinned } = value
  await store.put('vm/hello', unpinned)
  const hostKey = `ssh-ed25519 ${'A'.repeat(68)}`
  const facts = { defaultPort: 8_000, hostKey }
  await putHostReport(store, { ...RUNNING, ports: { ...PORTS, 80: PORTS[8_000] }, ...facts })
  t.match((await store.get('route/hello.localhost'))?.value, { port: 8_000, state: 'running' })
  await putHostReport(store, { ...STOPPED, state: 'asleep' })
  t.match(await reportOf(store), { state: 'asleep', ports: PORTS, ...facts })
  const row = (await store.get('route/hello.localhost'))?.value
  t.match(row, { port: 8_000, state: 'asleep' })
  t.notOk(row?.upstream, 'nobody dials it')
  await putHostReport(store, RUNNING)
  t.equal((await reportOf(store))?.hostKey, undefined, 'one that runs says all that is true of it')
})
