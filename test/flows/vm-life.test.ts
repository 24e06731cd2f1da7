/** A VM's life as its users see it: wanted in the table, run by a host, answered by an edge. */

import t, { type Test } from 'tap'
import { listRecords, USAGES } from '../../routing/records/record-kinds.ts'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import type { Store } from '../../routing/store/store.ts'
import { createAwayStore } from '../helpers/away-store.ts'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { deleteTestVm, hostFor, pidsOf, putTestPool, putTestVm, type TestHost } from '../helpers/host.ts'
import { isRunning } from '../helpers/landfall.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { until } from '../helpers/until.ts'

async function statusOf(edge: TestEdge, hostname: string): Promise<number> {
  const request = `GET / HTTP/1.1\r\nHost: ${hostname}\r\nConnection: close\r\n\r\n`
  return (await exchange(await edge.dialPlain(), request, isWhole)).status
}

async function untilAnswered(edge: TestEdge, hostname: string, status = 200): Promise<void> {
  await until(async () => (await statusOf(edge, hostname)) === status, `${hostname} answers ${status}`)
}

function lastPidOf(host: TestHost, vm: string): number {
  const pid = pidsOf(host, vm).at(-1)
  if (pid === undefined) throw new Error(`${vm} has not run`)
  return pid
}

async function reportOf(store: Store, vm: string) {
  return (await store.get(`report/${vm}`))?.value
}

async function storeFor(t: Test): Promise<Store> {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}

t.test('a VM that is put into the table answers, stops, starts and goes as it is told', async (t) => {
  const edge = await edgeFor(t)
  const host = await hostFor(t, { store: edge.store })
  await putTestPool(edge.store, { name: 'mine' })
  await putTestVm(edge.store, { name: 'app', pool: 'mine' })
  await untilAnswered(edge, 'app.localhost')
  await untilAnswered(edge, '8000--app.localhost')
  const pid = lastPidOf(host, 'app')
  await putTestVm(edge.store, { name: 'app', comment: 'the same VM' })
  await putTestVm(edge.store, { name: 'app', state: 'stopped' })
  await until(() => !isRunning(pid), 'it has ended')
  await until(async () => (await reportOf(edge.store, 'app'))?.state === 'stopped', 'its host says so')
  await until(async () => (await statusOf(edge, 'app.localhost')) >= 500, 'the edge knows')
  t.same(pidsOf(host, 'app'), [pid], 'a comment starts nothing anew')
  await putTestVm(edge.store, { name: 'app', state: 'running' })
  await untilAnswered(edge, 'app.localhost')
  const second = lastPidOf(host, 'app')
  await deleteTestVm(edge.store, 'app')
  await until(() => !isRunning(second), 'it has ended')
  await untilAnswered(edge, 'app.localhost', 404)
  t.equal(await reportOf(edge.store, 'app'), undefined)
  t.equal(await statusOf(edge, 'hello.localhost'), 200, 'the other VM ran all the time')
})

t.test('a VM of an image that nobody has says so', async (t) => {
  const store = await storeFor(t)
  await hostFor(t, { store })
  await putTestVm(store, { name: 'app', image: 'debian/12' })
  await until(async () => (await reportOf(store, 'app')) !== undefined, 'its host says something')
  t.match(await reportOf(store, 'app'), {
    state: 'failed',
    message: 'There is no image "debian/12" here, only: hello',
  })
})

t.test(
  'a VM that crashes answers again, while the store is away and the others are not disturbed',
  async (t) => {
    const edge = await edgeFor(t)
    const store = createAwayStore(edge.store)
    const host = await hostFor(t, { store })
    await putTestVm(edge.store, { name: 'app' })
    await untilAnswered(edge, 'app.localhost')
    const pid = lastPidOf(host, 'app')
    const other = lastPidOf(host, 'hello')
    store.goAway()
    process.kill(pid, 'SIGKILL')
    await until(() => pidsOf(host, 'app').length === 2, 'it runs again')
    t.equal(await statusOf(edge, 'hello.localhost'), 200)
    t.ok((await statusOf(edge, 'app.localhost')) >= 500, 'nobody knows where it is')
    store.comeBack()
    await untilAnswered(edge, 'app.localhost')
    t.same(pidsOf(host, 'hello'), [other])
  },
)

t.test(
  'a VM runs on when the store comes back without its data, and is known again when it is accepted',
  async (t) => {
    const lost = await storeFor(t)
    const store = createAwayStore(lost)
    const host = await hostFor(t, { store })
    const pid = lastPidOf(host, 'hello')
    const fresh = await storeFor(t)
    store.goAway()
    store.comeBack(fresh)
    const isHeld = () => host.lines.some(({ message }) => message.includes('lost its data'))
    await until(isHeld, 'the host keeps what it knows')
    await until(async () => (await fresh.get('host/local')) !== undefined, 'the host is there again', 20_000)
    t.ok(isRunning(pid))
    await putTestPool(fresh, { name: 'default', ...(await lost.get('pool/default'))?.value })
    await putTestVm(fresh, { name: 'hello', ...(await lost.get('vm/hello'))?.value })
    const { storeId } = await fresh.list('', { limit: 1 })
    await fresh.put(`accept/${storeId}`, {})
    await until(async () => (await reportOf(fresh, 'hello'))?.state === 'running', 'its host says so', 20_000)
    t.match(await fresh.get('route/hello.localhost'), { value: { state: 'running' } })
    t.same(pidsOf(host, 'hello'), [pid], 'and it is the same run')
  },
)

t.test('a pool moves to another host with its VMs, and back', async (t) => {
  const edge = await edgeFor(t)
  const { store } = edge
  const first = await hostFor(t, { store })
  const second = await hostFor(t, { store, env: { LANDFALL_HOST_NAME: 'other' } })
  await putTestPool(store, { name: 'mine' })
  await putTestVm(store, { name: 'app', pool: 'mine' })
  await untilAnswered(edge, 'app.localhost')
  t.same(pidsOf(second, 'app'), [], 'the other host runs nothing')
  const pid = lastPidOf(first, 'app')
  for (const [generation, host] of [
    [2, 'other'],
    [3, 'local'],
  ] as const) {
    await putTestPool(store, { name: 'mine', host })
    await until(async () => {
      const report = await reportOf(store, 'app')
      return report?.host === host && report.state === 'running'
    }, `${host} runs it`)
    t.match(await reportOf(store, 'app'), { generation })
    await untilAnswered(edge, 'app.localhost')
    if (host === 'other') await until(() => !isRunning(pid), 'the first one has ended')
  }
  await until(() => !isRunning(lastPidOf(second, 'app')), 'the second one has ended')
  t.equal(await statusOf(edge, 'app.localhost'), 200)
})

t.test('says again what somebody took out of the table', async (t) => {
  const store = await storeFor(t)
  const host = await hostFor(t, { store })
  const before = await reportOf(store, 'hello')
  await store.delete('report/hello')
  await until(async () => (await reportOf(store, 'hello')) !== undefined, 'it is there again')
  t.same(await reportOf(store, 'hello'), { ...before, generation: 1 })
  await store.put('report/hello', {
    name: 'hello',
    host: 'stranger',
    state: 'stopped',
    generation: 7,
    ports: {},
  })
  await until(async () => (await reportOf(store, 'hello'))?.host === 'local', 'it is said again')
  t.match(await reportOf(store, 'hello'), { state: 'running', generation: 8, ports: before?.ports as object })
  t.equal(pidsOf(host, 'hello').length, 1)
})

t.test('what a VM uses is charged to its pool', async (t) => {
  const store = await storeFor(t)
  const host = await hostFor(t, { store })
  await host.end()
  const [charge, ...others] = await Array.fromAsync(listRecords(store, USAGES))
  t.same(others, [])
  t.match(charge?.record, { pool: 'default', source: /^local-/ })
  const { cpuSeconds = 0, memoryByteSeconds = 0 } = charge?.record.counts ?? {}
  t.ok(cpuSeconds > 0.01 && cpuSeconds < 10, `${cpuSeconds} s`)
  t.ok(memoryByteSeconds > 1_000_000, `${memoryByteSeconds} byte-seconds`)
})
