/** What a host may write of snapshots and graves, and what it cannot bring back. */

import t, { type Test } from 'tap'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { clearGrave, planGrave } from '../../../routing/vms/graves.ts'
import { putKeptSnapshot, putSnapshotReport } from '../../../routing/vms/snapshot-reports.ts'
import { readVmParts } from '../../../routing/vms/vm-parts.ts'
import { dropVm, putReport, putVm, reportOf, vmOf } from './vm-documents.ts'

const AT = '2026-02-01T12:00:00Z'
const { createdAt: CREATED_AT } = vmOf('a')
const NAMED = { vm: 'a', vmCreatedAt: CREATED_AT, id: 's' }
const READY = { ...NAMED, state: 'ready', takenAt: AT, bytes: 7 } as const
const KEPT = { ...NAMED, id: 'r', takenAt: AT, bytes: 9 }
const KEY = 'snapshot/a/s'

async function storeFor(t: Test): Promise<Store> {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  await putVm(store, vmOf('a'))
  const wanted = {
    ...NAMED,
    pool: 'default',
    kind: 'made',
    state: 'wanted',
    label: 'x',
    createdAt: CREATED_AT,
  }
  await store.put(KEY, wanted)
  return store
}

async function snapshots(store: Store) {
  return (await store.list('snapshot/')).documents.map(({ key }) => key)
}

t.test('a wanted snapshot becomes ready or failed, and nothing is written twice', async (t) => {
  const store = await storeFor(t)
  await putSnapshotReport(store, { ...NAMED, state: 'failed', message: 'no room' })
  t.match((await store.get(KEY))?.value, { state: 'failed', message: 'no room', label: 'x', kind: 'made' })
  await putSnapshotReport(store, READY)
  const ready = await store.get(KEY)
  t.match(ready?.value, { state: 'ready', takenAt: AT, bytes: 7, label: 'x' })
  t.equal(ready?.value.message, undefined)
  await putSnapshotReport(store, READY)
  t.equal((await store.get(KEY))?.revision, ready?.revision)
})

t.test('one that was deleted, or that is of another VM of the name, is left alone', async (t) => {
  const store = await storeFor(t)
  await putSnapshotReport(store, { ...READY, vmCreatedAt: '2020-01-01T00:00:00Z' })
  t.match((await store.get(KEY))?.value, { state: 'wanted' })
  await store.delete(KEY)
  await putSnapshotReport(store, READY)
  t.same(await snapshots(store), [])
})

t.test('one that is deleted while its host answers stays deleted', async (t) => {
  const store = await storeFor(t)
  const racing = {
    list: store.list.bind(store),
    commit: store.commit.bind(store),
    get: async (key: string) => {
      const document = await store.get(key)
      await store.delete(KEY)
      return document
    },
  }
  await putSnapshotReport(racing, READY)
  t.same(await snapshots(store), [])
})

t.test('what a restore kept is written once', async (t) => {
  const store = await storeFor(t)
  await putKeptSnapshot(store, KEPT)
  const kept = await store.get('snapshot/a/r')
  t.match(kept?.value, { kind: 'kept', state: 'ready', pool: 'default', bytes: 9, createdAt: AT })
  await putKeptSnapshot(store, { ...KEPT, bytes: 10 })
  t.equal((await store.get('snapshot/a/r'))?.revision, kept?.revision)
})

t.test('it is not written when it was deleted, nor when the VM was, nor for another VM', async (t) => {
  const store = await storeFor(t)
  await store.put(`grave/a/${CREATED_AT}/r`, {})
  await putKeptSnapshot(store, KEPT)
  await putKeptSnapshot(store, { ...KEPT, id: 'q', vmCreatedAt: '2020-01-01T00:00:00Z' })
  await dropVm(store, 'a')
  await putKeptSnapshot(store, { ...KEPT, id: 'q' })
  t.same(await snapshots(store), [KEY])
})

t.test('it is not written when the VM is deleted at the same time', async (t) => {
  const store = await storeFor(t)
  let isDropped = false
  const racing = {
    list: store.list.bind(store),
    get: store.get.bind(store),
    commit: async (mutations: Parameters<Store['commit']>[0]) => {
      if (!isDropped) await dropVm(store, 'a')
      isDropped = true
      return store.commit(mutations)
    },
  }
  await putKeptSnapshot(racing, KEPT)
  t.same(await snapshots(store), [KEY])
})

t.test('a grave names who has the files: who reported last, else where the pool is', async (t) => {
  const store = await storeFor(t)
  const now = new Date(AT)
  const graves = async (snapshot?: string) => {
    const parts = await readVmParts(store, 'a')
    const edits = await planGrave(store, { parts, now, ...(snapshot && { snapshot }) })
    return edits.map(({ key, after }) => ({ key, host: after?.host }))
  }
  t.same(await graves(), [], 'no host can have any')
  const pool = { name: 'default', cpuMillis: 1_000, memoryBytes: 1, diskBytes: 1, createdAt: CREATED_AT }
  await store.put('pool/default', { ...pool, host: 'placed' })
  t.same(await graves(), [{ key: `grave/a/${CREATED_AT}`, host: 'placed' }])
  await putReport(store, reportOf('a', [80], { host: 'reporter' }))
  t.same(await graves('s'), [{ key: `grave/a/${CREATED_AT}/s`, host: 'reporter' }])
})

t.test('a grave is cleared by what it is of', async (t) => {
  const store = await storeFor(t)
  const keys = [`grave/a/${CREATED_AT}`, `grave/a/${CREATED_AT}/s`]
  for (const key of keys) await store.put(key, {})
  await clearGrave(store, { vm: 'a', vmCreatedAt: CREATED_AT, snapshot: 's' })
  t.same((await store.list('grave/')).documents.length, 1)
  await clearGrave(store, { vm: 'a', vmCreatedAt: CREATED_AT })
  await clearGrave(store, { vm: 'a', vmCreatedAt: CREATED_AT })
  t.same((await store.list('grave/')).documents, [])
})

t.test('it is not written when it is deleted at the same time', async (t) => {
  const store = await storeFor(t)
  const racing = {
    list: store.list.bind(store),
    get: store.get.bind(store),
    commit: async (mutations: Parameters<Store['commit']>[0]) => {
      await store.put(`grave/a/${CREATED_AT}/r`, {})
      return store.commit(mutations)
    },
  }
  await putKeptSnapshot(racing, KEPT)
  t.same(await snapshots(store), [KEY])
})
