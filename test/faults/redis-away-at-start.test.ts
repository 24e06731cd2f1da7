/** Redis is away, or hangs, when an edge starts: with a snapshot it serves at once, without one it waits. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type RedisProcess, redisFor } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'
import { faultTimeFor } from './fault-time.ts'
import { findDifferences, fleetFor, untilTablesFollow } from './fleet.ts'
import { rowsNamed, writeRows } from './numbered-rows.ts'
import { readReadiness, readTable } from './table-state.ts'
import { startTraffic } from './traffic.ts'

const faultMs = faultTimeFor(t, { seconds: 3, faults: 2 })
/** Of the process itself, on a busy machine, and one wait for the store. */
const START_LIMIT_MS = 20_000
/** Both wait most of the time. */
t.jobs = 2
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always']

interface Outage {
  readonly begin: (redis: RedisProcess) => Promise<void>
  readonly end: (redis: RedisProcess) => Promise<void>
}

async function checkStarts(t: Test, outage: Outage): Promise<void> {
  const redis = await redisFor(t, { settings: DURABLE })
  t.teardown(() => redis.signal('SIGCONT'))
  const fleet = await fleetFor(t, { redisUrl: `redis://127.0.0.1:${redis.port}` })
  const { store, originPort, rows } = fleet
  const [stays, goes] = fleet.edges
  if (stays === undefined || goes === undefined) throw new Error('two edges are needed')
  await until(() => existsSync(join(goes.dataFolder, 'table.snapshot')), 'the table is saved')
  const traffic = startTraffic(t, fleet)
  await traffic.leave(goes)
  await goes.kill()
  await outage.begin(redis)

  const startedAt = performance.now()
  const [again, fresh] = await Promise.all([fleet.startEdge(goes.name, goes), fleet.startEdge('edge-new')])
  const tookMs = Math.round(performance.now() - startedAt)
  t.ok(tookMs < START_LIMIT_MS, `both edges start in ${tookMs} ms`)
  const readiness = await readReadiness(again)
  t.equal(readiness.status, 200, 'the edge with a snapshot is ready')
  t.match(readiness.table, { source: 'snapshot', rows: rows.length }, 'with all its rows')
  traffic.join(again)
  const unready = await readReadiness(fresh)
  t.equal(unready.status, 503, 'the edge without one is not')
  t.equal(unready.table.ageSeconds, null, 'its table has no age')
  t.equal((await readTable(fresh)).ageSeconds, Number.POSITIVE_INFINITY)
  await traffic.goesOnFor(faultMs, 'while the store is away')
  t.equal((await readReadiness(fresh)).status, 503, 'the edge without rows still is not ready')
  t.ok((await readTable(again)).ageSeconds > 0, 'the other one tells its age')

  await outage.end(redis)
  const isReady = async () => (await readReadiness(fresh)).status === 200
  await until(isReady, 'the new edge becomes ready', 15_000)
  traffic.join(fresh)
  const later = rowsNamed('later', 20)
  await until(
    () =>
      writeRows(store, later, originPort).then(
        () => true,
        () => false,
      ),
    'writes succeed',
  )
  await untilTablesFollow([stays, again, fresh], store)
  const expected = new Map([...rows, ...later].map(({ hostname, number }) => [hostname, number]))
  for (const edge of [stays, again, fresh]) {
    t.same(await findDifferences(edge, expected.keys(), expected), [], `${edge.name} has all rows`)
    t.notOk((await readTable(edge)).isHeld, `${edge.name} holds nothing`)
  }
  await traffic.finish()
}

t.test('Redis does not run when edges start', { buffered: true }, async (t) => {
  await checkStarts(t, { begin: (redis) => redis.kill(), end: (redis) => redis.start() })
})

t.test('Redis hangs when edges start', { buffered: true }, async (t) => {
  await checkStarts(t, {
    begin: async (redis) => redis.signal('SIGSTOP'),
    end: async (redis) => redis.signal('SIGCONT'),
  })
})
