/** Snapshots over the API: made, listed, deleted and put back, each with what its host has to know. */

import t, { type Test } from 'tap'
import type { Store } from '../../../routing/store/store.ts'
import { putKeptSnapshot, putSnapshotReport } from '../../../routing/vms/snapshot-reports.ts'
import { until } from '../../helpers/until.ts'
import { putReport, reportOf } from '../vms/vm-documents.ts'
import { documentsOf, vmApiFor } from './vm-client.ts'

const VM = '/v1/vms/a'
const AT = '2026-01-31T12:00:00Z'
const table = { revision: 1_000_000, status: () => ({}) }

/** The VM `a` of the pool `web`, which runs. */
async function apiWithVmFor(t: Test) {
  const client = await vmApiFor(t, { table })
  const { json } = await client.call('PUT', VM, { body: { pool: 'web' } })
  await putReport(client.store, reportOf('a', [80]))
  const vmCreatedAt = String(json.createdAt)
  const make = async (label?: string) =>
    String((await client.call('POST', `${VM}/snapshots`, { body: { ...(label && { label }) } })).json.id)
  const take = (id: string) =>
    putSnapshotReport(client.store, { vm: 'a', vmCreatedAt, id, state: 'ready', takenAt: AT, bytes: 7 })
  return { ...client, vmCreatedAt, make, take }
}

async function idOf(store: Store): Promise<string> {
  const find = async () => (await store.list('snapshot/a/')).documents[0]?.value.id
  await until(async () => (await find()) !== undefined, 'it is asked for')
  return String(await find())
}

t.test('a snapshot is asked for, taken by the host, and told of with its size', async (t) => {
  const { call, web: token, take, vmCreatedAt, audited } = await apiWithVmFor(t)
  const made = await call('POST', `${VM}/snapshots`, { token, body: { label: 'before' } })
  const { id } = made.json
  t.match(made, {
    status: 201,
    headers: { location: `/v1/vms/a/snapshots/${id}`, etag: String },
    json: { vm: 'a', vmCreatedAt, pool: 'web', label: 'before', kind: 'made', state: 'wanted' },
  })
  await take(String(id))
  t.match(await call('GET', `${VM}/snapshots/${id}`, { token }), {
    json: { state: 'ready', takenAt: AT, bytes: 7 },
  })
  t.match((await call('GET', `${VM}/snapshots`, { token })).json, { snapshots: [{ id }] })
  t.ok((await audited()).includes(`create snapshot/a/${id}`))
})

t.test('with "wait" the answer comes when it is ready, or says why not', async (t) => {
  const { call, store, take, vmCreatedAt } = await apiWithVmFor(t)
  const making = call('POST', `${VM}/snapshots?wait=60`, { body: {} })
  const id = await idOf(store)
  await take(id)
  t.match(await making, { status: 201, json: { id, state: 'ready' } })
  await call('DELETE', `${VM}/snapshots/${id}`)
  const failing = call('POST', `${VM}/snapshots?wait=60`, { body: {} })
  const other = await idOf(store)
  await putSnapshotReport(store, { vm: 'a', vmCreatedAt, id: other, state: 'failed', message: 'no room' })
  t.match(await failing, { status: 504, json: { code: 'api_snapshot_not_ready', detail: /failed: no room/ } })
  t.match(await call('POST', `${VM}/snapshots?wait=0`, { body: {} }), {
    status: 504,
    json: { detail: /is still to be taken/ },
  })
})

t.test('a deletion leaves a grave, and the host brings nothing back', async (t) => {
  const { call, store, make, take, vmCreatedAt } = await apiWithVmFor(t)
  const id = await make()
  t.equal((await call('DELETE', `${VM}/snapshots/${id}`)).status, 204)
  await take(id)
  await putKeptSnapshot(store, { vm: 'a', vmCreatedAt, id, takenAt: AT, bytes: 1 })
  t.same(await documentsOf({ store }, 'snapshot/'), {})
  t.match(await documentsOf({ store }, 'grave/'), {
    [`a/${vmCreatedAt}/${id}`]: { snapshot: id, host: 'host-1', pool: 'web' },
  })
  t.equal((await call('DELETE', `${VM}/snapshots/${id}`)).status, 404)
})

t.test('who may not read the pool sees none, and who may not write changes none', async (t) => {
  const { call, lab, webToken, make } = await apiWithVmFor(t)
  const id = await make()
  const reader = await webToken('read')
  t.equal((await call('GET', `${VM}/snapshots`, { token: reader })).status, 200)
  for (const [method, path] of [
    ['POST', `${VM}/snapshots`],
    ['DELETE', `${VM}/snapshots/${id}`],
    ['POST', `${VM}/restore`],
  ] as const) {
    const body = path.endsWith('restore') ? { snapshot: id } : method === 'POST' ? {} : undefined
    t.equal((await call(method, path, { body, token: lab })).status, 404, `${method} ${path}`)
    t.equal((await call(method, path, { body, token: reader })).status, 403, `${method} ${path}`)
  }
  t.equal((await call('GET', `${VM}/snapshots`, { token: lab })).status, 404)
  t.equal((await call('GET', `${VM}/snapshots/${id}`, { token: lab })).status, 404)
})

t.test('a VM has a hundred snapshots, and what restores kept besides', async (t) => {
  const { call, store, make, vmCreatedAt } = await apiWithVmFor(t)
  const id = await make()
  const { value = {} } = (await store.get(`snapshot/a/${id}`)) ?? {}
  for (let made = 0; made < 98; made += 1)
    await store.put(`snapshot/a/s${made}`, { ...value, id: `s${made}` })
  await putKeptSnapshot(store, { vm: 'a', vmCreatedAt, id: 'kept', takenAt: AT, bytes: 1 })
  await make()
  t.match(await call('POST', `${VM}/snapshots`, { body: {} }), {
    status: 422,
    json: { code: 'api_record_invalid', detail: /has 100 snapshots/ },
  })
})

t.test('those of an earlier VM of the name are not shown', async (t) => {
  const { call, store, make } = await apiWithVmFor(t)
  const id = await make()
  const { value } = (await store.get(`snapshot/a/${id}`)) ?? {}
  await call('DELETE', VM)
  t.same(await documentsOf({ store }, 'snapshot/'), {}, 'they go with their VM')
  await call('PUT', VM, { body: { pool: 'lab' } })
  await store.put(`snapshot/a/${id}`, { ...value })
  t.same((await call('GET', `${VM}/snapshots`)).json, { snapshots: [] })
  t.equal((await call('GET', `${VM}/snapshots/${id}`)).status, 404)
})

t.test('a restore is a wish of the VM, for a snapshot that is ready', async (t) => {
  const { call, store, make, take } = await apiWithVmFor(t)
  const id = await make()
  const restore = (snapshot: string) => call('POST', `${VM}/restore`, { body: { snapshot } })
  t.match(await restore('absent'), {
    status: 422,
    json: { code: 'api_snapshot_unknown', field: '/snapshot' },
  })
  t.match(await restore(id), { status: 409, json: { code: 'api_snapshot_unusable', detail: /to be taken/ } })
  await take(id)
  const first = await restore(id)
  t.match(first, { status: 202, json: { restore: { id: /^[0-9a-f]{12}$/, snapshot: id } } })
  const second = await restore(id)
  t.not(Object(second.json.restore).id, Object(first.json.restore).id, 'each is another one')
  t.same((await store.get('vm/a'))?.value.restore, second.json.restore)
  t.match(await call('PUT', VM, { body: { comment: 'x' } }), { json: { restore: second.json.restore } })
})

t.test('with "wait" a restore is over when the present is kept and the VM is up again', async (t) => {
  const { call, store, make, take, vmCreatedAt } = await apiWithVmFor(t)
  const id = await make()
  await take(id)
  const wishOf = async () => (await store.get('vm/a'))?.value.restore as { id: string } | undefined
  let isOver = false
  const restoring = call('POST', `${VM}/restore?wait=60`, { body: { snapshot: id } }).finally(() => {
    isOver = true
  })
  await until(async () => (await wishOf()) !== undefined, 'it is asked for')
  const kept = (await wishOf())?.id ?? ''
  await putReport(store, reportOf('a', [80], { state: 'stopped' }))
  await putKeptSnapshot(store, { vm: 'a', vmCreatedAt, id: kept, takenAt: AT, bytes: 9 })
  await call('GET', VM)
  t.notOk(isOver, 'the VM is down')
  await putReport(store, reportOf('a', [80]))
  t.match(await restoring, { status: 200, json: { isReady: true, restore: { id: kept } } })
  t.match((await call('GET', `${VM}/snapshots/${kept}`)).json, { kind: 'kept', state: 'ready', bytes: 9 })
  t.match(await call('POST', `${VM}/restore?wait=0`, { body: { snapshot: kept } }), {
    status: 504,
    json: { code: 'api_vm_not_ready', detail: /not restored/ },
  })
})
