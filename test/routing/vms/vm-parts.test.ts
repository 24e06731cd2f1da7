/** The parts of a VM, and the row that they make of a binding. */

import t, { type Test } from 'tap'
import type { GrantRecord } from '../../../routing/records/grants.ts'
import { GRANTS, type Kind, REPORTS, type Stored, VMS } from '../../../routing/records/record-kinds.ts'
import type { ReportRecord, VmRecord } from '../../../routing/records/records.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { defaultPortOf, joinRow, readVmParts } from '../../../routing/vms/vm-parts.ts'
import { grantOf, putBinding, putGrant, putVm, reportOf, vmOf } from './vm-documents.ts'

const BARE = { vm: 'a', hostname: 'a.example.test' }

t.test('the default port is what the VM chose, else 80, else the smallest that is open', (t) => {
  const cases: [VmRecord | undefined, ReportRecord | undefined, number][] = [
    [vmOf('a', { port: 3_000 }), reportOf('a', [80, 22], { defaultPort: 22 }), 3_000],
    [vmOf('a'), reportOf('a', [80, 22], { defaultPort: 9_000 }), 9_000],
    [vmOf('a'), reportOf('a', [22, 8_000, 80]), 80],
    [vmOf('a'), reportOf('a', [8_000, 443]), 443],
    [vmOf('a', { ports: { '8000': { visibility: 'public' } } }), reportOf('a', []), 80],
    [vmOf('a'), undefined, 80],
    [undefined, undefined, 80],
  ]
  for (const [vm, report, port] of cases) t.equal(defaultPortOf(vm, report), port)
  t.end()
})

t.test('a row has the address, visibility and grants of its own port', (t) => {
  const parts = {
    vm: storedOf(VMS, vmOf('a', { pool: 'web', ports: { '8000': { visibility: 'public' } } })),
    report: storedOf(REPORTS, reportOf('a', [80, 8_000], { generation: 7 })),
    grants: [
      grantOf('a', 'of-default'),
      grantOf('a', 'of-8000', { ports: [8_000], role: 'root', expiresAt: '2999-01-01T00:00:00Z' }),
      grantOf('a', 'of-both', { ports: [80, 8_000] }),
      grantOf('a', 'of-none', { ports: [9_000] }),
      grantOf('a', 'of-a-vm', { to: { kind: 'vm', value: 'b' }, ports: [80, 8_000] }),
    ].map((grant) => storedOf<GrantRecord>(GRANTS, grant)),
  }
  const shared = { vm: 'a', pool: 'web', state: 'running', generation: 7 }
  const grant = (id: string) => ({ id, to: { kind: 'user', value: id }, role: 'viewer' })
  t.strictSame(
    { ...joinRow(BARE, parts) },
    {
      ...{ ...shared, hostname: 'a.example.test', visibility: 'private', port: 80 },
      upstream: parts.report.record.ports['80'],
      grants: [grant('of-both'), grant('of-default')],
    },
  )
  t.strictSame(
    { ...joinRow({ ...BARE, port: 8_000 }, parts) },
    {
      ...{ ...shared, hostname: 'a.example.test', visibility: 'public', port: 8_000 },
      upstream: parts.report.record.ports['8000'],
      grants: [
        grant('of-both'),
        { ...grant('of-8000'), role: 'root', expiresAt: '2999-01-01T00:00:00Z' },
      ].sort((one, other) => (one.id < other.id ? -1 : 1)),
    },
  )
  const closed = joinRow({ ...BARE, port: 22 }, parts)
  t.match(closed, { state: 'running', port: 22, upstream: undefined })
  t.strictSame(
    closed?.grants?.map(({ id }) => id),
    ['of-8000'],
    'root is SSH too, whatever its ports are',
  )
  t.end()
})

t.test('a VM that does not run has rows without an address, and none when it is not there', (t) => {
  const vm = storedOf(VMS, vmOf('a'))
  for (const state of ['stopped', 'failed'] as const) {
    const report = storedOf(REPORTS, reportOf('a', [80], { state }))
    t.match(joinRow(BARE, { vm, report, grants: [] }), {
      state: 'stopped',
      generation: 1,
      upstream: undefined,
    })
  }
  const report = storedOf(REPORTS, reportOf('a', [80], { state: 'asleep' }))
  const asleep = { state: 'asleep', port: 80, generation: 1, upstream: undefined }
  t.match(joinRow(BARE, { vm, report, grants: [] }), asleep)
  const unwanted = storedOf(VMS, vmOf('a', { state: 'stopped' }))
  t.match(joinRow(BARE, { vm: unwanted, report, grants: [] }), { ...asleep, state: 'stopped' })
  t.match(joinRow(BARE, { vm, report: undefined, grants: [] }), { state: 'stopped', generation: 0, port: 80 })
  t.equal(joinRow(BARE, { vm: undefined, report: undefined, grants: [] }), undefined)
  t.end()
})

t.test("reads what is the VM's own, however much it is, and nothing of others", async (t) => {
  const store = await storeFor(t)
  for (const name of ['a', 'ab', 'a-b']) {
    await putVm(store, vmOf(name))
    await putBinding(store, { vm: name, hostname: `${name}.example.test` })
    await putGrant(store, grantOf(name, 'g'))
  }
  for (let made = 0; made < 1_200; made += 1) {
    const grant = grantOf('a', `h${made}`, { ports: [9] })
    await store.put(GRANTS.keyOf(grant), { ...grant })
  }
  await store.put('grant/a/broken', { id: 'broken' })
  const parts = await readVmParts(store, 'a')
  t.equal(parts.grants.length, 1_201)
  t.ok(parts.grants.every(({ record }) => record.vm === 'a'))
  t.same(
    parts.bindings.map(({ record }) => record),
    [BARE],
  )
  t.same([...parts.rows.keys()], ['a.example.test'])
  t.same([...parts.broken.keys()], ['grant/a/broken'])
  t.match(parts, { vm: { record: { name: 'a' } }, join: { value: { name: 'a', changes: 3 } } })
})

t.test('a row says when its port reads Authorization itself', async (t) => {
  const ports = {
    80: { visibility: 'public', authorization: 'app' },
    81: { visibility: 'private' },
  } as const
  const parts = { vm: storedOf<VmRecord>(VMS, vmOf('a', { ports })), report: undefined, grants: [] }
  t.match(joinRow({ ...BARE, port: 80 }, parts), { visibility: 'public', authorization: 'app' })
  t.notOk('authorization' in (joinRow({ ...BARE, port: 81 }, parts) ?? {}))
  t.notOk('authorization' in (joinRow({ ...BARE, port: 82 }, parts) ?? {}))
})

t.test('does not believe in a VM that came between two reads', async (t) => {
  const store = await storeFor(t)
  let isMade = false
  const late = {
    list: store.list.bind(store),
    get: async (key: string) => {
      const document = await store.get(key)
      if (!isMade && key === 'join/a') {
        isMade = true
        await putVm(store, vmOf('a'))
      }
      return document
    },
  }
  const { vm, join } = await readVmParts(late, 'a')
  t.ok(vm)
  t.equal(join?.value.changes, 1, 'it was read again, together with what guards it')
})

function storedOf<Value>(kind: Kind<Value>, record: Value): Stored<Value> {
  return { key: kind.keyOf(record), record, revision: 1 }
}

async function storeFor(t: Test): Promise<Store> {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}
