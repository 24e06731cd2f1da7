/** The feed is gone from under an edge: it loads all rows anew, and nobody ever sees half of them. */

import t from 'tap'
import { redisFor } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'
import { faultTimeFor } from './fault-time.ts'
import { findDifferences, fleetFor, untilTablesFollow } from './fleet.ts'
import { readNumbers, rowsNamed, toMutation, writeRows } from './numbered-rows.ts'
import { startWriters } from './numbered-writers.ts'
import { startTraffic } from './traffic.ts'

const RESYNCS = 3
const faultMs = faultTimeFor(t, { seconds: 1, faults: RESYNCS })
/** Several pages of a listing. */
const ROWS = 12_000
const FEED_LIMIT = 100
const META = '{landfall}:meta'
const FEED = '{landfall}:feed'

t.test('an edge whose place in the feed was trimmed away loads anew while it serves', async (t) => {
  const redis = await redisFor(t)
  const redisUrl = `redis://127.0.0.1:${redis.port}`
  const env = { LANDFALL_FEED_LIMIT: String(FEED_LIMIT) }
  const fleet = await fleetFor(t, { redisUrl, rows: ROWS, feedLimit: FEED_LIMIT, env })
  const { store, originPort, edges } = fleet
  const [, late] = edges
  const gone = rowsNamed('gone', 200)
  await writeRows(store, gone, originPort)
  await untilTablesFollow(edges, store)
  const traffic = startTraffic(t, fleet)

  late?.signal('SIGSTOP')
  const moved = rowsNamed('moved', 400)
  await writeRows(store, moved, originPort)
  const deletions = gone.map((row) => ({ ...toMutation(row, originPort), value: undefined }))
  await store.commit(deletions)
  t.ok((await redis.admin.xlen(FEED)) <= FEED_LIMIT, 'the feed does not reach back any more')
  late?.signal('SIGCONT')
  await untilTablesFollow(edges, store)
  const expected = new Map(moved.map(({ hostname, number }) => [hostname, number]))
  const names = [...moved, ...gone].map(({ hostname }) => hostname)
  for (const edge of edges) t.same(await findDifferences(edge, names, expected), [])

  for (const edge of edges) {
    const { states } = traffic.tableOf(edge)
    const least = Math.min(...states.map(({ rows }) => rows))
    t.ok(
      least >= ROWS,
      `${edge.name} never has fewer rows than there were (${least}, seen ${states.length} times)`,
    )
  }
  await traffic.finish()
})

t.test('all edges load anew again and again while rows are written', async (t) => {
  const redis = await redisFor(t)
  const fleet = await fleetFor(t, { redisUrl: `redis://127.0.0.1:${redis.port}`, rows: ROWS })
  const { store, originPort, edges } = fleet
  const traffic = startTraffic(t, fleet)
  const writers = startWriters([store], { name: 'written', originPort })
  t.teardown(() => writers.stop())
  for (let resync = 1; resync <= RESYNCS; resync += 1) {
    // What came before now has another history, as after a failover.
    await redis.admin.hset(META, 'mark', `foreign${resync}`)
    await redis.admin.del(FEED)
    await traffic.goesOnFor(faultMs, `resync ${resync}`)
    const count = writers.acknowledged.length
    await until(() => writers.acknowledged.length > count + 20, 'writes go on')
  }
  await writers.stop()
  t.equal(writers.failed(), 0, 'no write fails')
  await untilTablesFollow(edges, store)
  const written = await readNumbers(store, 'written')
  for (const edge of edges) {
    t.same(await findDifferences(edge, writers.hostnames, written), [], `${edge.name} has what the store has`)
    const { states } = traffic.tableOf(edge)
    const least = Math.min(...states.map(({ rows }) => rows))
    t.ok(least >= ROWS, `${edge.name} never has fewer rows than stay (${least}, seen ${states.length} times)`)
  }
  await traffic.finish()
})
