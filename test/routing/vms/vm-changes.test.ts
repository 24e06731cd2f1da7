/** Changes of VMs: every commit leaves the rows as a fresh join makes them, whoever else writes at the same time. */

import fc from 'fast-check'
import t, { type Test } from 'tap'
import { toEdit } from '../../../routing/records/edits.ts'
import { VMS } from '../../../routing/records/record-kinds.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { commitVm } from '../../../routing/vms/vm-changes.ts'
import { putTestRoute } from '../../helpers/route.ts'
import {
  dropVm,
  grantOf,
  putBinding,
  putGrant,
  putReport,
  putVm,
  reportOf,
  rowsOf,
  vmOf,
} from './vm-documents.ts'

const A = { vm: 'a', hostname: 'a.example.test' }
const DEEP = { vm: 'a', hostname: '8000--a.example.test', port: 8_000 }

t.test('a VM has its rows from its first moment, and they follow what its host reports', async (t) => {
  const store = await storeFor(t)
  await putVm(store, vmOf('a', { ports: { '8000': { visibility: 'public' } } }))
  await putBinding(store, A)
  await putBinding(store, DEEP)
  const down = { vm: 'a', pool: 'default', state: 'stopped', generation: 0 }
  t.strictSame((await rowsOf(store)).stored, {
    '8000--a.example.test': { ...down, hostname: DEEP.hostname, port: 8_000, visibility: 'public' },
    'a.example.test': { ...down, hostname: A.hostname, port: 80, visibility: 'private' },
  })
  await putReport(store, reportOf('a', [8_000], { generation: 4 }))
  t.match((await rowsOf(store)).stored, {
    '8000--a.example.test': { state: 'running', generation: 4, upstream: { host: '10.0.0.1' } },
    'a.example.test': { port: 8_000, visibility: 'public', upstream: { host: '10.0.0.1' } },
  })
  await putReport(store, reportOf('a', [8_000], { generation: 5, state: 'failed' }))
  t.strictSame((await rowsOf(store)).stored['a.example.test'], {
    ...{ ...down, hostname: A.hostname, port: 8_000, visibility: 'public', generation: 5 },
  })
  await dropVm(store, 'a')
  t.same((await store.list('')).documents, [], 'nothing is left of a VM that is gone')
})

t.test('a report of a VM that is gone leaves nothing behind', async (t) => {
  const store = await storeFor(t)
  await putReport(store, reportOf('a'))
  t.equal((await store.list('')).revision, 0)
})

t.test('a change that changes nothing is not committed', async (t) => {
  const store = await storeFor(t)
  await putVm(store, vmOf('a'))
  await putBinding(store, A)
  const { revision } = await store.list('')
  await putVm(store, vmOf('a'))
  await putBinding(store, A)
  await commitVm(store, { name: 'a', plan: (parts) => ({ edits: [], after: parts }) })
  t.equal((await store.list('')).revision, revision)
})

t.test('what is written with a change is told of each document, and committed with it', async (t) => {
  const store = await storeFor(t)
  const record = vmOf('a')
  const { revisions } = await commitVm(store, {
    name: 'a',
    plan: (parts) => ({
      edits: [toEdit(VMS.keyOf(record), { before: parts.vm, after: record })],
      after: { ...parts, vm: { key: 'vm/a', record, revision: 0 } },
    }),
    toExtra: ({ edits }) => [{ key: 'audit/x', value: { keys: edits.map(({ key }) => key) }, ifRevision: 0 }],
  })
  t.match(await store.get('audit/x'), { value: { keys: ['vm/a'] }, revision: revisions.get('audit/x') })
  t.equal((await store.get('vm/a'))?.revision, revisions.get('vm/a'))
})

t.test('a name that leads elsewhere is not taken, and nothing of the change is kept', async (t) => {
  const store = await storeFor(t)
  const upstream = { host: '127.0.0.1', port: 9_000 }
  await putTestRoute(store, { hostname: 'bare.example.test', upstream })
  await putVm(store, vmOf('a'))
  await putVm(store, vmOf('b'))
  await putBinding(store, { vm: 'b', hostname: 'b.example.test' })
  await store.put('route/broken.example.test', { hostname: 'broken.example.test' })
  const { revision } = await store.list('')
  for (const hostname of ['bare.example.test', 'b.example.test', 'broken.example.test']) {
    const wanted = { code: 'api_name_taken', context: { field: '/hostname' } }
    await t.rejects(putBinding(store, { vm: 'a', hostname }), wanted, hostname)
  }
  t.equal((await store.list('')).revision, revision)
})

t.test('a VM mends its own rows, and leaves alone those that somebody else has taken', async (t) => {
  const store = await storeFor(t)
  await putVm(store, vmOf('a'))
  await putBinding(store, A)
  await putBinding(store, DEEP)
  await store.put('route/a.example.test', { hostname: 'nonsense' })
  const upstream = { host: '127.0.0.1', port: 9_000 }
  await putTestRoute(store, { hostname: DEEP.hostname, upstream })
  await putReport(store, reportOf('a'))
  t.match((await store.get('route/a.example.test'))?.value, { vm: 'a', state: 'running' })
  t.match((await store.get(`route/${DEEP.hostname}`))?.value, { upstream, vm: undefined })
})

t.test('while a part cannot be read the last good rows stay, until it is written anew', async (t) => {
  const store = await storeFor(t)
  await putVm(store, vmOf('a', { ports: { '80': { visibility: 'public' } } }))
  await putBinding(store, A)
  await putReport(store, reportOf('a'))
  const good = (await rowsOf(store)).stored
  await store.put('report/a', { name: 'a', state: 'exploded' })
  await t.rejects(putGrant(store, grantOf('a', 'g')), { code: 'api_record_broken', message: /report\/a/ })
  t.strictSame((await store.get('route/a.example.test'))?.value, good['a.example.test'])
  await putReport(store, reportOf('a', [80], { generation: 2 }))
  t.match((await store.get('route/a.example.test'))?.value, { state: 'running', generation: 2 })
  await store.put('vm/a', { name: 'a' })
  await t.rejects(putReport(store, reportOf('a')), { code: 'api_record_broken', message: /vm\/a/ })
  const nothing = commitVm(store, { name: 'a', plan: (parts) => ({ edits: [], after: parts }) })
  await t.rejects(nothing, { code: 'api_record_broken' })
  await putVm(store, vmOf('a'))
  t.match((await store.get('route/a.example.test'))?.value, { state: 'running', visibility: 'private' })
})

t.test('a grant or a binding that cannot be read stops nothing and lets nobody in', async (t) => {
  const store = await storeFor(t)
  await putVm(store, vmOf('a'))
  await putBinding(store, A)
  await putBinding(store, DEEP)
  await store.put('grant/a/g', { ...grantOf('a', 'g'), role: 'owner' })
  await store.put(`binding/a/${DEEP.hostname}`, { vm: 'a', hostname: DEEP.hostname, port: 'x' })
  await putReport(store, reportOf('a', [80, 8_000]))
  const row = (await store.get('route/a.example.test'))?.value
  t.match(row, { state: 'running' })
  t.notOk(row?.grants)
  t.match((await store.get(`route/${DEEP.hostname}`))?.value, { state: 'stopped', port: 8_000 })
})

t.test('hundreds of writers of one VM all succeed', async (t) => {
  const store = await storeFor(t)
  await putVm(store, vmOf('a'))
  await putBinding(store, A)
  const ids = Array.from({ length: 100 }, (_unused, index) => `g${index}`)
  await Promise.all(ids.map((id) => putGrant(store, grantOf('a', id))))
  const grants = (await rowsOf(store)).stored['a.example.test']?.grants ?? []
  t.same(grants.map(({ id }) => id).sort(), ids.sort())
})

/** One change of one of two VMs; they compete for the host name `shop.example.test`. */
const VM_NAME = fc.constantFrom('a', 'b')
const GUEST_PORT = fc.constantFrom(80, 8_000)
const CHANGE = fc.oneof(
  fc.record({
    kind: fc.constant('vm' as const),
    vm: VM_NAME,
    port: fc.option(GUEST_PORT),
    isPublic: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('report' as const),
    vm: VM_NAME,
    ports: fc.uniqueArray(GUEST_PORT),
    generation: fc.nat(9),
  }),
  fc.record({
    kind: fc.constant('grant' as const),
    vm: VM_NAME,
    id: fc.constantFrom('g', 'h'),
    ports: fc.option(fc.uniqueArray(GUEST_PORT, { minLength: 1 })),
    isGone: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('binding' as const),
    vm: VM_NAME,
    hostname: fc.constantFrom('shop.example.test', 'more.example.test'),
    port: fc.option(GUEST_PORT),
    isGone: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('drop' as const), vm: VM_NAME }),
)
type Change = typeof CHANGE extends fc.Arbitrary<infer Value> ? Value : never

/** Both VMs ask for one host name: drawn changes alone meet so seldom that a whole run can go without. */
const CONTEST = (['a', 'b'] as const).map(
  (vm): Change => ({ kind: 'binding', vm, hostname: 'shop.example.test', port: null, isGone: false }),
)
const CHANGES = fc
  .tuple(fc.constantFrom([], CONTEST), fc.array(CHANGE, { minLength: 2, maxLength: 7 }))
  .map(([contest, drawn]) => [...contest, ...drawn])

t.test('after each commit of racing changes the rows are what a fresh join makes', async (t) => {
  let refused = 0
  const property = fc.asyncProperty(fc.scheduler(), CHANGES, async (scheduler, changes) => {
    await using store = await startMemoryStore()
    await Promise.all([putVm(store, vmOf('a')), putVm(store, vmOf('b'))])
    await putBinding(store, A)
    const faults: unknown[] = []
    const racing = interleaved(store, scheduler, async () => {
      const { stored, fresh } = await rowsOf(store)
      if (JSON.stringify(stored) !== JSON.stringify(fresh)) faults.push({ stored, fresh })
    })
    const apply = async (change: Change) => {
      try {
        await carryOut(racing, change)
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'api_name_taken')) throw error
        refused += 1
      }
    }
    await scheduler.waitFor(Promise.all(changes.map(apply)))
    if (faults.length > 0) throw new Error(JSON.stringify(faults[0], null, 1))
  })
  await fc.assert(property, { numRuns: 300 })
  t.ok(refused > 0, `${refused} changes met a name that was taken`)
})

function carryOut(store: Pick<Store, 'get' | 'list' | 'commit'>, change: Change): Promise<void> {
  const { vm } = change
  if (change.kind === 'drop') return dropVm(store, vm)
  if (change.kind === 'report')
    return putReport(store, reportOf(vm, change.ports, { generation: change.generation }))
  if (change.kind === 'vm') {
    const ports = { '80': { visibility: change.isPublic ? 'public' : 'private' } } as const
    return putVm(store, vmOf(vm, { ports, ...(change.port !== null && { port: change.port }) }))
  }
  const gone = change.isGone ? 'gone' : undefined
  if (change.kind === 'grant') {
    const ports = change.ports === null ? {} : { ports: change.ports }
    return putGrant(store, grantOf(vm, change.id, ports), gone)
  }
  const port = change.port === null ? {} : { port: change.port }
  return putBinding(store, { vm, hostname: change.hostname, ...port }, gone)
}

/** Each call of the store waits for its turn in an order that fast-check chooses, before it is made and after it. */
function interleaved(store: Store, scheduler: fc.Scheduler, onCommit: () => Promise<void>) {
  const turn = () => scheduler.schedule(Promise.resolve())
  const around = async <Result>(act: () => Promise<Result>): Promise<Result> => {
    await turn()
    const result = await act()
    await turn()
    return result
  }
  return {
    get: (key: string) => around(() => store.get(key)),
    list: (prefix: string, page?: { after?: string; limit?: number }) =>
      around(() => store.list(prefix, page)),
    commit: (mutations: Parameters<Store['commit']>[0]) =>
      around(async () => {
        const revisions = await store.commit(mutations)
        await onCommit()
        return revisions
      }),
  }
}

async function storeFor(t: Test): Promise<Store> {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}
