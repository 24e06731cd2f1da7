/** A host is told of its own VMs, of each change once, and of nothing else. */

import t, { type Test } from 'tap'
import { startFollower } from '../../../routing/feed/feed-follower.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { PLACEMENT_PREFIXES, PlacedVms } from '../../../routing/vms/placed-vms.ts'
import { until } from '../../helpers/until.ts'
import { createListLog } from '../logs.ts'

const CREATED_AT = '2026-01-31T12:00:00Z'

async function putPool(store: Store, name: string, host?: string): Promise<number> {
  const record = { name, cpuMillis: 1_000, memoryBytes: 1, diskBytes: 1, createdAt: CREATED_AT }
  return store.put(`pool/${name}`, { ...record, ...(host && { host }) })
}

async function putVm(store: Store, name: string, more: object = {}): Promise<number> {
  const record = { name, pool: 'mine', image: 'hello', state: 'running', ports: {}, createdAt: CREATED_AT }
  return store.put(`vm/${name}`, { ...record, ...more })
}

async function putReport(store: Store, name: string, host: string): Promise<number> {
  return store.put(`report/${name}`, { name, host, state: 'stopped', generation: 1, ports: {} })
}

/** A copy for the host `me`; what it is told is in `told`, oldest first. */
async function followFor(t: Test, prepare: (store: Store) => Promise<unknown>, feedLimit = 10_000) {
  const store = await startMemoryStore({ feedLimit })
  await prepare(store)
  const told: string[] = []
  const log = createListLog()
  const copy = new PlacedVms('me', {
    want: ({ name, state, image }) => told.push(`want ${name} ${state} ${image}`),
    release: (name) => told.push(`release ${name}`),
    remove: (name) => told.push(`remove ${name}`),
    compareReport: (name, report) => told.push(`report ${name} ${report?.state}`),
  })
  const settings = { prefixes: PLACEMENT_PREFIXES, what: 'the wanted VMs' }
  const follower = await startFollower({ store, log, copy }, settings)
  t.teardown(async () => {
    await follower[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
  })
  /** All that was told since the last call, once everything written so far has arrived. */
  const news = async () => {
    const { revision } = await store.list('', { limit: 1 })
    await until(() => (follower.position?.revision ?? -1) >= revision, 'all has arrived')
    return told.splice(0)
  }
  return { store, news, log, copy }
}

t.test('finds the VMs of the pools that are placed on this host', async (t) => {
  const { news, copy } = await followFor(t, async (store) => {
    await putPool(store, 'mine', 'me')
    await putPool(store, 'theirs', 'them')
    await putPool(store, 'nowhere')
    await putVm(store, 'one')
    await putVm(store, 'two', { state: 'stopped', image: 'other' })
    for (const pool of ['theirs', 'nowhere', 'absent']) await putVm(store, `of-${pool}`, { pool })
    await putReport(store, 'one', 'me')
    await putReport(store, 'two', 'them')
    await putReport(store, 'of-theirs', 'them')
  })
  t.same(await news(), [
    'want one running hello',
    'report one stopped',
    'want two stopped other',
    'report two undefined',
  ])
  t.equal(copy.isEmpty, false)
})

t.test('tells each change of a VM, its deletion, and its way from pool to pool', async (t) => {
  const { store, news } = await followFor(t, async (store) => {
    await putPool(store, 'mine', 'me')
    await putPool(store, 'theirs', 'them')
  })
  await putVm(store, 'one')
  t.same(await news(), ['want one running hello'])
  await putVm(store, 'one', { state: 'stopped' })
  await putReport(store, 'one', 'me')
  await putReport(store, 'one', 'them')
  await store.delete('report/one')
  t.same(await news(), [
    'want one stopped hello',
    'report one stopped',
    'report one undefined',
    'report one undefined',
  ])
  await putVm(store, 'one', { pool: 'theirs' })
  await putReport(store, 'one', 'them')
  await putVm(store, 'one', { pool: 'theirs', state: 'stopped' })
  t.same(await news(), ['release one'])
  await putVm(store, 'one')
  await store.delete('vm/one')
  await putVm(store, 'other', { pool: 'theirs' })
  await store.delete('vm/other')
  t.same(await news(), ['want one running hello', 'remove one'])
})

t.test('tells when a pool comes and goes, and nothing when only its size changes', async (t) => {
  const { store, news } = await followFor(t, async (store) => {
    await putVm(store, 'one')
    await putVm(store, 'other', { pool: 'theirs' })
  })
  t.same(await news(), [])
  await putPool(store, 'mine', 'me')
  t.same(await news(), ['want one running hello'])
  const pool = await store.get('pool/mine')
  await store.put('pool/mine', { ...pool?.value, cpuMillis: 2_000 })
  t.same(await news(), [])
  await putPool(store, 'mine', 'them')
  t.same(await news(), ['release one'])
  await putPool(store, 'mine', 'me')
  await store.delete('pool/mine')
  t.same(await news(), ['want one running hello', 'release one'])
})

t.test('takes no notice of a change that is older than what it holds', async (t) => {
  const { store, news, copy } = await followFor(t, async (store) => {
    await putPool(store, 'mine', 'me')
    await putVm(store, 'one')
  })
  await news()
  const vm = await store.get('vm/one')
  const pool = await store.get('pool/mine')
  if (!vm || !pool) throw new Error('nothing is there')
  copy.apply({ ...vm, value: { ...vm.value, state: 'stopped' } })
  copy.apply({ ...vm, value: undefined })
  copy.apply({ ...pool, value: undefined })
  t.same(await news(), [])
})

t.test('leaves a VM as it was whose record cannot be read, and goes on', async (t) => {
  const { store, news, log } = await followFor(t, async (store) => {
    await putPool(store, 'mine', 'me')
    await putVm(store, 'one')
  })
  await news()
  await store.put('vm/one', { name: 'one', pool: 7 })
  await store.put('pool/mine', { name: 'mine' })
  await putVm(store, 'two')
  t.same(await news(), ['want two running hello'])
  t.ok(log.lines.some(({ level }) => level === 'error'))
})

t.test('gives up, but does not delete, what a new listing no longer has', async (t) => {
  const { store, news } = await followFor(
    t,
    async (store) => {
      await putPool(store, 'mine', 'me')
      await putVm(store, 'one')
      await putVm(store, 'two')
      await putVm(store, 'broken')
    },
    20,
  )
  await news()
  // All in one commit, and more than the feed holds: the follower has to list again.
  const filling = Array.from({ length: 60 }, (_unused, index) => ({ key: `x/${index}`, value: {} }))
  const broken = { key: 'vm/broken', value: { name: 'broken' } }
  await store.commit([{ key: 'vm/one', value: undefined }, broken, ...filling])
  const told = await news()
  t.match(told[0], 'release one')
  t.same(told.slice(1).toSorted(), [
    'report broken undefined',
    'report two undefined',
    'want broken running hello',
    'want two running hello',
  ])
})
