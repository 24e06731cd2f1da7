/** How large a VM may be, and what it takes over from the one that it is a copy of. */

import t, { type Test } from 'tap'
import { putKeptSnapshot } from '../../../routing/vms/snapshot-reports.ts'
import { tokenFor } from './api-client.ts'
import { vmApiFor } from './vm-client.ts'

const MIB = 1_048_576
const GIB = 1_073_741_824
const VM = '/v1/vms/a'
const SHAPE = {
  ...{ cpus: 2, memoryBytes: 512 * MIB, diskBytes: 200 * GIB, weight: 200 },
  ...{ egress: 'none', suspendAfterSeconds: 600 },
}

/** A pool `web` of 1.5 CPUs, 1 GiB of memory and 10 GiB of disk. */
async function apiFor(t: Test) {
  const client = await vmApiFor(t)
  const body = { cpuMillis: 1_500, memoryBytes: GIB, diskBytes: 10 * GIB, host: 'host-1' }
  await client.call('PUT', '/v1/pools/web', { body })
  return client
}

t.test('a VM has a size, and a change leaves alone what it does not name', async (t) => {
  const { call, web: token } = await apiFor(t)
  t.match(await call('PUT', VM, { token, body: SHAPE }), { status: 201, json: { pool: 'web', ...SHAPE } })
  t.match((await call('PUT', VM, { token, body: { weight: 1 } })).json, { ...SHAPE, weight: 1 })
  const never = await call('PUT', VM, { token, body: { suspendAfterSeconds: 0 } })
  t.equal(never.json.suspendAfterSeconds, undefined)
  t.equal(never.json.cpus, 2)
})

t.test('a VM may be as large as its pool, its disk larger, and each limit is named', async (t) => {
  const { call, web: token } = await apiFor(t)
  await call('PUT', VM, { token, body: { cpus: 2, memoryBytes: GIB, diskBytes: 20 * GIB } })
  const refused = async (body: object, field: string, detail: RegExp) =>
    t.match(await call('PUT', VM, { token, body }), {
      status: 422,
      json: { code: 'api_record_invalid', field, detail },
    })
  await refused({ cpus: 3 }, '/cpus', /at most 2: so many CPUs has the pool "web"/)
  await refused({ memoryBytes: GIB + 1 }, '/memoryBytes', /at most 1073741824/)
  await refused({ diskBytes: 20 * GIB - 1 }, '/diskBytes', /at least 21474836480: a disk never shrinks/)
  await refused({ cpus: 0 }, '/cpus', /whole number from 1 to 64/)
  await refused({ cpus: 1.5 }, '/cpus', /whole number from 1 to 64/)
  await refused({ memoryBytes: 64 * MIB - 1 }, '/memoryBytes', /67108864 \(64 MiB\)/)
  await refused({ diskBytes: 2 ** 44 + 1 }, '/diskBytes', /16 TiB/)
  await refused({ weight: 10_001 }, '/weight', /1 to 10000/)
  await refused({ egress: 'some' }, '/egress', /one of "open", "none"/)
  await refused({ suspendAfterSeconds: 4 }, '/suspendAfterSeconds', /from 5 to 31536000/)
  await refused({ restore: { id: 'x', snapshot: 'y' } }, '/restore', /no such field/)
  t.match((await call('GET', VM, { token })).json, { cpus: 2, memoryBytes: GIB, diskBytes: 20 * GIB })
})

t.test('a pool that became smaller does not stand in the way of other changes', async (t) => {
  const { call, web: token } = await apiFor(t)
  await call('PUT', VM, { token, body: { memoryBytes: GIB } })
  await call('PUT', '/v1/pools/web', {
    body: { cpuMillis: 100, memoryBytes: MIB, diskBytes: 1, host: 'host-1' },
  })
  t.equal((await call('PUT', VM, { token, body: { comment: 'x', cpus: 1 } })).status, 200)
})

t.test('a copy has the size, image and default port of its source, and nothing else of it', async (t) => {
  const { call, web: token, store } = await apiFor(t)
  const ports = { 8000: { visibility: 'public' } }
  const body = { ...SHAPE, image: 'other', port: 8_000, ports, comment: 'mine' }
  const { json: source } = await call('PUT', VM, { token, body })
  const copy = await call('PUT', '/v1/vms/b', { token, body: { source: { vm: 'a' }, diskBytes: 300 * GIB } })
  t.match(copy, {
    status: 201,
    json: {
      ...{ ...SHAPE, diskBytes: 300 * GIB, image: 'other', port: 8_000, pool: 'web', ports: {} },
      source: { vm: 'a', createdAt: source.createdAt },
    },
  })
  t.equal(copy.json.comment, undefined)
  t.match((await store.get('route/b.example.test'))?.value, { visibility: 'private' })
  t.equal((await call('PUT', '/v1/vms/b', { token, body: { source: { vm: 'a' } } })).status, 200, 'again')
  const named = await call('POST', '/v1/vms', { token, body: { source: { vm: 'a' } } })
  t.match(named, { status: 201, json: { source: { vm: 'a' } } })
})

t.test('what cannot be the source of a copy is refused', async (t) => {
  const { call, web: token, lab } = await apiFor(t)
  await call('PUT', VM, { token, body: { diskBytes: GIB } })
  await call('PUT', '/v1/vms/theirs', { token: lab, body: {} })
  const refused = async (body: object, status: number, json: object) =>
    t.match(await call('PUT', '/v1/vms/b', { token, body }), { status, json }, JSON.stringify(body))
  const unknown = { code: 'api_vm_unknown', field: '/source/vm' }
  await refused({ source: { vm: 'absent' } }, 422, unknown)
  await refused({ source: { vm: 'theirs' } }, 422, unknown)
  await refused({ source: { vm: 'a' }, pool: 'lab' }, 422, { field: '/pool' })
  await refused({ source: { vm: 'a' }, image: 'other' }, 422, { field: '/image' })
  await refused({ source: { vm: 'a' }, diskBytes: GIB - 1 }, 422, { field: '/diskBytes' })
  await refused({ source: { vm: 'a', snapshot: 'no' } }, 422, {
    code: 'api_snapshot_unknown',
    field: '/source/snapshot',
  })
  await refused({ source: { vm: 'a', createdAt: 'x' } }, 422, { field: '/source/createdAt' })
  await refused({ source: {} }, 422, { field: '/source/vm' })
  await call('PUT', '/v1/vms/b', { token, body: {} })
  await refused({ source: { vm: 'a' } }, 422, { field: '/source', detail: /only when it is made/ })
})

t.test('to copy takes "write" in the pool, and to see the source', async (t) => {
  const { call, web, webToken } = await apiFor(t)
  await call('PUT', VM, { token: web, body: {} })
  const body = { source: { vm: 'a' } }
  t.equal((await call('PUT', '/v1/vms/b', { token: await webToken('read', 'share'), body })).status, 403)
  t.equal((await call('PUT', '/v1/vms/b', { token: await webToken('write'), body })).status, 201)
})

t.test('a branch is a copy of a snapshot that is ready', async (t) => {
  const { call, web: token, store } = await apiFor(t)
  const { json } = await call('PUT', VM, { token, body: {} })
  const kept = { vm: 'a', vmCreatedAt: String(json.createdAt), takenAt: String(json.createdAt), bytes: 1 }
  await putKeptSnapshot(store, { ...kept, id: 'ready' })
  const body = { source: { vm: 'a', snapshot: 'ready' } }
  const branch = await call('PUT', '/v1/vms/b', { token, body })
  t.match(branch, { status: 201, json: { source: { ...body.source, createdAt: json.createdAt } } })
  const { id } = (await call('POST', `${VM}/snapshots`, { token, body: {} })).json
  const early = await call('PUT', '/v1/vms/c', { token, body: { source: { vm: 'a', snapshot: id } } })
  t.match(early, { status: 409, json: { code: 'api_snapshot_unusable', field: '/source/snapshot' } })
})

t.test('a pool has an owner and a limit of its disks', async (t) => {
  const client = await apiFor(t)
  const { call } = client
  const pool = { cpuMillis: 1_000, memoryBytes: GIB, diskBytes: GIB, host: 'host-1' }
  const body = { ...pool, ioBytesPerSecond: 104_857_600, owner: 'ann' }
  t.match(await call('PUT', '/v1/pools/web', { body }), { status: 200, json: body })
  t.match(await call('PUT', '/v1/pools/web', { body: { ...body, ioBytesPerSecond: 1 } }), {
    status: 422,
    json: { field: '/ioBytesPerSecond' },
  })
  const without = await call('PUT', '/v1/pools/web', { body: pool })
  t.equal(without.json.owner, undefined)
})

t.test('a VM may let others of its pool connect, and of pools that are the caller’s too', async (t) => {
  const client = await apiFor(t)
  const { call, web, lab, store } = client
  for (const [name, token] of [
    ['a', web],
    ['b', web],
    ['theirs', lab],
  ] as const) {
    await call('PUT', `/v1/vms/${name}`, { token, body: {} })
  }
  const both = await tokenFor(client, [
    { pool: 'web', verbs: ['write', 'share'] },
    { pool: 'lab', verbs: ['write'] },
  ])
  const reader = await tokenFor(client, [
    { pool: 'web', verbs: ['write', 'share'] },
    { pool: 'lab', verbs: ['read'] },
  ])
  const grant = (token: string, value: string, more: object = {}) =>
    call('POST', `${VM}/grants`, { token, body: { to: { kind: 'vm', value }, role: 'viewer', ...more } })
  t.match(await grant(web, 'b', { ports: [5_432] }), {
    status: 201,
    json: { to: { kind: 'vm', value: 'b' } },
  })
  t.match(await grant(web, 'theirs'), { status: 422, json: { code: 'api_vm_unknown', field: '/to/value' } })
  t.match(await grant(web, 'absent'), { status: 422, json: { code: 'api_vm_unknown' } })
  t.match(await grant(web, 'a'), { status: 422, json: { field: '/to/value', detail: /another VM/ } })
  t.match(await grant(web, 'No Name'), { status: 422 })
  t.match(await grant(web, 'b', { role: 'root' }), { status: 422, json: { field: '/role' } })
  t.match(await grant(reader.token, 'theirs'), { status: 403, json: { detail: /"write" in the pool "lab"/ } })
  t.equal((await grant(both.token, 'theirs')).status, 201)
  for (const { value } of (await store.list('route/')).documents) t.equal(value.grants, undefined)
})

t.test('a grant to a VM is not for a later VM of its name', async (t) => {
  let now = new Date('2026-03-01T00:00:00Z')
  const { call, store } = await vmApiFor(t, { now: () => now })
  const grant = { to: { kind: 'vm', value: 'b' }, role: 'viewer' }
  await call('PUT', VM, { body: {} })
  await call('PUT', '/v1/vms/b', { body: {} })
  await call('PUT', `${VM}/grants/g`, { body: grant })
  t.equal((await call('POST', `${VM}/grants`, { body: grant })).status, 409, 'it is granted already')
  now = new Date('2026-03-02T00:00:00Z')
  await call('DELETE', '/v1/vms/b')
  await call('PUT', '/v1/vms/b', { body: {} })
  t.equal((await store.get('grant/a/g'))?.value.createdAt, '2026-03-01T00:00:00.000Z')
  const anew = await call('POST', `${VM}/grants`, { body: grant })
  t.match(anew, { status: 201, json: { createdAt: '2026-03-02T00:00:00.000Z' } })
})
