/** A host over a real Redis that is killed, hangs or was never there: its VMs run on, and the table learns of it later. */

import t, { type Test } from 'tap'
import type { Store } from '../../routing/store/store.ts'
import { hostFor, pidsOf, putTestPool, putTestVm } from '../helpers/host.ts'
import { isRunning } from '../helpers/landfall.ts'
import { type RedisProcess, redisFor } from '../helpers/redis.ts'
import { loggedStoreFor } from '../helpers/redis-store.ts'
import { until } from '../helpers/until.ts'

const PERSISTENT = ['--appendonly', 'yes', '--appendfsync', 'always']
const PREFIX = 'fleet'

/** A fleet's settings, but for the store, which each part of the test opens itself. */
function envOf(redis: RedisProcess, hostName = 'local') {
  return {
    LANDFALL_STORE: 'redis',
    LANDFALL_REDIS_URL: `redis://127.0.0.1:${redis.port}`,
    LANDFALL_HOST_NAME: hostName,
  }
}

async function storeFor(t: Test, redis: RedisProcess): Promise<Store> {
  const url = `redis://127.0.0.1:${redis.port}`
  return (await loggedStoreFor(t, { url, prefix: PREFIX, commandTimeoutMs: 1_500 })).store
}

async function portOf(store: Store, vm: string): Promise<unknown> {
  const report = await store.get(`report/${vm}`)
  return (report?.value.ports as Record<string, { port: number }> | undefined)?.['8000']?.port
}

async function fleetFor(t: Test) {
  const redis = await redisFor(t, { settings: PERSISTENT })
  const operator = await storeFor(t, redis)
  await putTestPool(operator, { name: 'mine' })
  await putTestVm(operator, { name: 'app', pool: 'mine' })
  const host = await hostFor(t, { store: await storeFor(t, redis), env: envOf(redis) })
  return { redis, operator, host }
}

t.test('seeds nothing, runs what is wanted, and refuses a second host of its name', async (t) => {
  const { redis, operator, host } = await fleetFor(t)
  t.equal(await operator.get('vm/hello'), undefined)
  t.match(await operator.get('route/app.localhost'), { value: { state: 'running' } })
  const second = hostFor(t, { store: await storeFor(t, redis), env: envOf(redis) })
  await t.rejects(second, { code: 'host_name_taken' })
  await hostFor(t, { store: await storeFor(t, redis), env: envOf(redis, 'other') })
  t.equal(pidsOf(host, 'app').length, 1)
})

for (const loss of ['killed', 'hanging'] as const) {
  t.test(`a VM that crashes while Redis is ${loss} runs again, and is known afterwards`, async (t) => {
    const { redis, operator, host } = await fleetFor(t)
    const before = await portOf(operator, 'app')
    if (loss === 'killed') await redis.kill()
    else redis.signal('SIGSTOP')
    process.kill(pidsOf(host, 'app')[0] ?? Number.NaN, 'SIGKILL')
    await until(() => pidsOf(host, 'app').length === 2, 'it runs again')
    if (loss === 'killed') await redis.start()
    else redis.signal('SIGCONT')
    await until(
      async () => (await portOf(operator, 'app').catch(() => before)) !== before,
      'the table knows its new port',
      30_000,
    )
    t.match(await operator.get('report/app'), { value: { state: 'running', generation: 1 } })
  })
}

t.test('starts without Redis, and runs what is wanted once it is there', async (t) => {
  const { redis, operator, host } = await fleetFor(t)
  await host.end()
  await redis.kill()
  const next = await hostFor(t, { store: await storeFor(t, redis), env: envOf(redis) })
  t.same(pidsOf(next, 'app'), [])
  await redis.start()
  await until(() => pidsOf(next, 'app').length === 1, 'it runs', 30_000)
  const isHeld = async () => (await operator.findLease('host/local').catch(() => undefined)) !== undefined
  await until(isHeld, 'the host is there', 30_000)
})

t.test('ends in time, with its VMs, while Redis hangs', async (t) => {
  const { redis, host } = await fleetFor(t)
  redis.signal('SIGSTOP')
  const startedAt = performance.now()
  await host.end()
  t.ok(performance.now() - startedAt < 15_000)
  t.notOk(pidsOf(host, 'app').some(isRunning))
  redis.signal('SIGCONT')
})
