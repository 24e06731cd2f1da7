/** Metering, events and retention over a Redis that hangs, dies and comes back: nothing is lost or counted twice. */

import t, { type Test } from 'tap'
import { createAuditId } from '../../routing/records/audit-id.ts'
import { startRetention } from '../../routing/retention.ts'
import { startUsageMeter } from '../../routing/usage/usage-meter.ts'
import { sumUsage } from '../../routing/usage/usage-report.ts'
import { createListLog, type Line } from '../helpers/list-log.ts'
import { type RedisProcess, redisFor } from '../helpers/redis.ts'
import { loggedStoreFor } from '../helpers/redis-store.ts'
import { until } from '../helpers/until.ts'
import { apiFor } from '../routing/api/api-client.ts'
import { eventsFor } from '../routing/api/event-reader.ts'
import { putPool } from '../routing/api/pools-and-tokens.ts'

const NOON = Date.parse('2026-03-01T12:00:00Z')
const DAY = { from: new Date('2026-03-01T00:00:00Z'), to: new Date('2026-03-02T00:00:00Z') }
const TIMEOUT_MS = 1_000
/** What was acknowledged is on disk. */
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always']

async function bedFor(t: Test, settings: readonly string[] = DURABLE) {
  const redis = await redisFor(t, { settings })
  const url = `redis://127.0.0.1:${redis.port}`
  const { store } = await loggedStoreFor(t, { url, commandTimeoutMs: TIMEOUT_MS })
  return { redis, store, log: createListLog() }
}

interface Fault {
  readonly what: string
  harm(redis: RedisProcess): Promise<void>
  mend(redis: RedisProcess): Promise<void>
}

const FAULTS: readonly Fault[] = [
  {
    what: 'hangs',
    harm: async ({ signal }) => signal('SIGSTOP'),
    mend: async ({ signal }) => signal('SIGCONT'),
  },
  { what: 'is killed', harm: ({ kill }) => kill(), mend: ({ start }) => start() },
]

for (const { what, harm, mend } of FAULTS) {
  t.test(`usage is counted once when Redis ${what}`, async (t) => {
    const { redis, store, log } = await bedFor(t)
    const clock = { now: NOON }
    const meter = await startUsageMeter({ store, log }, { source: 'e1', flushMs: 15, now: () => clock.now })
    let requests = 0
    const adding = setInterval(() => {
      requests += 1
      meter.add('web', { requests: 1, egressBytes: 100 })
    }, 1)
    t.teardown(() => clearInterval(adding))
    await until(async () => (await store.list('usage/')).documents.length === 1, 'the first hour is written')
    await harm(redis)
    await until(() => failures(log) >= 1, 'a flush in vain')
    clock.now += 3_600_000
    await until(() => failures(log) >= 2, 'another one, of two hours')
    await mend(redis)
    await until(
      () =>
        store
          .list('usage/')
          .then(({ documents }) => documents.length === 2)
          .catch(() => false),
      'both hours are written',
    )
    clearInterval(adding)
    await meter[Symbol.asyncDispose]()
    t.notOk(log.lines.find(({ level }) => level === 'error'))
    const { total, steps } = await sumUsage({ store, log }, { pool: 'web', ...DAY, step: 'hour' })
    t.match(total, { requests, egressBytes: 100 * requests })
    t.equal(steps.length, 2)
  })

  t.test(`events go on without a gap when Redis ${what}`, async (t) => {
    const { redis, store } = await bedFor(t)
    const client = await apiFor(t, { store })
    const reader = await eventsFor(t, client)
    await putPool(client, 'before')
    await reader.has(1)
    await harm(redis)
    await until(() => reader.text.includes(': the store is away'), 'a word of it')
    await mend(redis)
    await until(
      () =>
        putPool(client, 'after')
          .then(() => true)
          .catch(() => false),
      'Redis is back',
    )
    await reader.has(2)
    t.strictSame(reader.told(), ['pool put before', 'pool put after'])
    t.equal(reader.text.split(': the store is away').length, 2)
  })
}

t.test('a Redis that comes back without its data makes readers list again', async (t) => {
  const { redis, store } = await bedFor(t, [])
  const client = await apiFor(t, { store })
  for (let n = 0; n < 5; n += 1) await putPool(client, `p${n}`)
  const reader = await eventsFor(t, client)
  await redis.kill()
  await redis.start()
  await until(
    () =>
      putPool(client, 'new')
        .then(() => true)
        .catch(() => false),
    'Redis is back',
  )
  await until(() => reader.told().includes('resync'), 'a resync')
  await putPool(client, 'last')
  await until(() => reader.told().at(-1) === 'pool put last', 'what comes then')
})

t.test('an id from the future does not move the store', async (t) => {
  const { store } = await bedFor(t)
  const client = await apiFor(t, { store })
  await putPool(client, 'a')
  const { revision } = await store.list('')
  const reader = await eventsFor(t, client, { headers: { 'last-event-id': '999999999999999' } })
  await reader.has(1)
  t.match(reader.events, [{ type: 'resync', id: String(revision) }])
  await putPool(client, 'b')
  await reader.has(2)
  t.equal((await store.list('')).revision, revision + 1)
})

t.test('old records go from Redis too', async (t) => {
  const { store, log } = await bedFor(t)
  const old = Array.from({ length: 230 }, () => `audit/${createAuditId(new Date('2020-01-01T00:00:00Z'))}`)
  const kept = `audit/${createAuditId(new Date())}`
  await store.commit([...old, kept].map((key) => ({ key, value: {} })))
  await store.put('usage/web/2020-01-01T00:00:00.000Z/e1', {})
  await store.put(`usage/web/${new Date().toISOString()}/e1`, {})
  const retention = startRetention({ store, log }, { pauseMs: 1 })
  t.teardown(() => retention[Symbol.asyncDispose]())
  await until(async () => (await store.list('')).documents.length === 2, 'all that is old is gone')
  t.ok(await store.get(kept))
})

/** Flushes that did not arrive. */
function failures({ lines }: { readonly lines: readonly Line[] }): number {
  return lines.filter(({ message }) => message.startsWith('usage could not be written')).length
}
