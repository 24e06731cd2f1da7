/** `?wait`: the answer comes when the VM's URL leads to it on this edge, or says why not. */

import { request } from 'node:http'
import t, { type Test } from 'tap'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { until } from '../../helpers/until.ts'
import { putReport, putVm, reportOf, vmOf } from '../vms/vm-documents.ts'
import { TOKEN } from './api-client.ts'
import { vmApiFor } from './vm-client.ts'

const VM = '/v1/vms/a'
/** Every revision of these tests is below it. */
const ALL = 1_000_000

const status = () => ({})

t.test('waits until the host has started the VM', async (t) => {
  const { call, store } = await vmApiFor(t, { table: { revision: ALL, status } })
  for (const [method, path] of [
    ['PUT', `${VM}?wait=60`],
    ['POST', '/v1/vms?wait=60'],
  ] as const) {
    const answer = call(method, path, { body: {} })
    const name = await newVm(store, path.includes('/a') ? undefined : 'a')
    await putReport(store, reportOf(name, [], { state: 'stopped' }))
    await putReport(store, reportOf(name, [8_000]))
    t.match(await answer, { status: 201, json: { name, isReady: true, report: { ports: [8_000] } } })
  }
  t.match(
    await call('PUT', `${VM}?wait=60`, { body: {} }),
    { status: 200, json: { isReady: true } },
    'it runs already',
  )
})

t.test('a tenant has a hundred waits, and what is refused for that is not written', async (t) => {
  const { call, store, web: token, lab } = await vmApiFor(t, { table: { revision: ALL, status } })
  await call('PUT', VM, { body: { pool: 'web' } })
  let answered = 0
  const waits = Array.from({ length: 101 }, async () => {
    const answer = await call('PUT', `${VM}?wait=60`, { token, body: {} })
    answered += 1
    return answer
  })
  await until(() => answered === 1, 'the one too many is refused')
  const more = { token, body: { pool: 'web' } }
  t.match(await call('PUT', '/v1/vms/b?wait=1', more), {
    status: 429,
    headers: { 'retry-after': String },
    json: { code: 'api_rate_limited' },
  })
  t.equal((await call('PUT', '/v1/vms/b', more)).status, 201, 'without a wait it is the first of its name')
  t.equal((await call('PUT', '/v1/vms/c?wait=0', { token: lab, body: { pool: 'lab' } })).status, 504)
  await putReport(store, reportOf('a'))
  const statuses = (await Promise.all(waits)).map((answer) => answer.status)
  t.same(new Set(statuses), new Set([200, 429]))
  await putReport(store, reportOf('b'))
  t.equal((await call('PUT', '/v1/vms/b?wait=60', more)).status, 200, 'the places are free again')
})

t.test('waits for this edge to have read the row', async (t) => {
  const table = { revision: 0, status }
  const { call, store } = await vmApiFor(t, { table })
  let isAnswered = false
  const answer = call('PUT', `${VM}?wait=60`, { body: {} }).finally(() => {
    isAnswered = true
  })
  await newVm(store)
  await putReport(store, reportOf('a'))
  table.revision = ((await store.get('route/a.example.test'))?.revision ?? 0) - 1
  await call('GET', VM)
  t.notOk(isAnswered)
  table.revision += 1
  t.match(await answer, { status: 201, json: { isReady: true } })
})

t.test('says what the host reports when time runs out', async (t) => {
  const { call, store } = await vmApiFor(t, { table: { revision: ALL, status } })
  const cases = [
    [undefined, /^"a": no host has reported it yet\.$/],
    [reportOf('a', [], { state: 'stopped' }), /^"a": its host "host-1" reports that it is stopped\.$/],
    [reportOf('a', []), /^"a": it runs, but nothing listens on its port 80\.$/],
  ] as const
  for (const [report, detail] of cases) {
    await putVm(store, vmOf('a'))
    if (report) await putReport(store, report)
    const answer = await call('PUT', `${VM}?wait=0`, { body: {} })
    t.match(answer, { status: 504, json: { code: 'api_vm_not_ready', detail, next: /GET \/v1\/vms/ } })
  }
})

t.test('tells a failure at once, with the words of the host, but not that of the time before', async (t) => {
  const { call, store } = await vmApiFor(t, { table: { revision: ALL, status } })
  const answer = call('PUT', `${VM}?wait=60`, { body: {} })
  await newVm(store)
  const failed = reportOf('a', [], { state: 'failed', message: 'no such image' })
  await putReport(store, failed)
  const detail = /^"a": its host "host-1" reports that it failed: no such image\.$/
  t.match(await answer, { status: 504, json: { code: 'api_vm_not_ready', detail } })
  t.match(
    await call('PUT', `${VM}?wait=60`, { body: {} }),
    { status: 504, json: { detail } },
    'nothing was changed',
  )
  const { json } = await call('GET', VM)
  const retried = call('PUT', `${VM}?wait=60`, { body: { image: 'other' } })
  await until(async () => (await store.get('vm/a'))?.revision !== json.revision, 'the VM is written')
  await putReport(store, reportOf('a'))
  t.match(await retried, { status: 200, json: { isReady: true } })
})

t.test('a VM that shall stop is waited for until it has', async (t) => {
  const { call, store } = await vmApiFor(t, { table: { revision: ALL, status } })
  const stop = { body: { state: 'stopped' } }
  t.equal((await call('PUT', `${VM}?wait=60`, stop)).status, 201, 'one that never ran has stopped')
  await call('PUT', VM, { body: { state: 'running' } })
  await putReport(store, reportOf('a'))
  const answer = call('PUT', `${VM}?wait=60`, stop)
  await until(async () => (await store.get('vm/a'))?.value.state === 'stopped', 'the VM is written')
  await putReport(store, reportOf('a', [], { state: 'stopped' }))
  t.match(await answer, { status: 200, json: { state: 'stopped', report: { state: 'stopped' } } })
})

t.test('a VM that is deleted is not waited for', async (t) => {
  const { call, store } = await vmApiFor(t)
  const answer = call('PUT', `${VM}?wait=60`, { body: {} })
  await newVm(store)
  t.equal((await call('DELETE', VM)).status, 204)
  t.match(await answer, { status: 404, json: { code: 'api_not_found' } })
})

t.test('goes on after a gap in the feed', async (t) => {
  const { call, store } = await vmApiFor(t, {
    table: { revision: ALL, status },
    store: await gappyStoreFor(t),
  })
  const answer = call('PUT', `${VM}?wait=60`, { body: {} })
  await newVm(store)
  await putReport(store, reportOf('a'))
  t.match(await answer, { status: 201, json: { isReady: true } })
})

t.test('the wait ends when the client goes away', async (t) => {
  let watches = 0
  const inner = await startMemoryStore()
  t.teardown(() => inner[Symbol.asyncDispose]())
  const store = withWatch(inner, async function* (...given) {
    watches += 1
    yield* inner.watch(...given)
    watches -= 1
  })
  const { api } = await vmApiFor(t, { store })
  const headers = {
    host: 'admin.example.test',
    authorization: `Bearer ${TOKEN}`,
    'content-type': 'application/json',
  }
  const path = `${VM}?wait=60`
  const outgoing = request({ createConnection: () => api.connect(), method: 'PUT', path, headers })
  outgoing.end('{}')
  await newVm(inner)
  await until(() => watches === 1, 'it waits')
  outgoing.on('error', () => {})
  outgoing.destroy()
  await until(() => watches === 0, 'it waits no more')
  t.equal((await inner.get('vm/a'))?.value.name, 'a', 'the VM stays')
})

/** Resolves with the name of a VM when there is one. */
async function newVm(store: Store, other?: string): Promise<string> {
  let name = ''
  await until(async () => {
    const { documents } = await store.list('vm/')
    name = String(documents.find(({ value }) => value.name !== other)?.value.name ?? '')
    return name !== ''
  }, 'the VM is written')
  return name
}

/** Its feed breaks at each change. */
async function gappyStoreFor(t: Test): Promise<Store> {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  return withWatch(store, async function* (...given) {
    for await (const _event of store.watch(...given)) {
      yield { kind: 'resync' }
      return
    }
  })
}

function withWatch(store: Store, watch: Store['watch']): Store {
  return new Proxy(store, {
    get: (target, name) => {
      if (name === 'watch') return watch
      const value = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
