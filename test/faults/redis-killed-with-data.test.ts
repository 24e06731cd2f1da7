/** Redis is killed and comes back with its data: nobody notices but the log. */

import t from 'tap'
import { redisFor } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'
import { faultTimeFor } from './fault-time.ts'
import { startFeedReader } from './feed-reader.ts'
import { findDifferences, fleetFor, storeFor, untilTablesFollow } from './fleet.ts'
import { rowsNamed, toMutation } from './numbered-rows.ts'
import { startTraffic } from './traffic.ts'

const KILLS = 2
const faultMs = faultTimeFor(t, { seconds: 3, faults: KILLS })
/** What was acknowledged is on disk, so that exactly this has to come back. */
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always']

t.test('edges serve while a killed Redis is away and no reader of the feed misses a change', async (t) => {
  const redis = await redisFor(t, { settings: DURABLE })
  const redisUrl = `redis://127.0.0.1:${redis.port}`
  const fleet = await fleetFor(t, { redisUrl })
  const { store, originPort, edges } = fleet
  const reader = await startFeedReader(await storeFor(t, { redisUrl }))
  t.teardown(() => reader.stop())
  const traffic = startTraffic(t, fleet)
  const written: { key: string; revision: number }[] = []
  const write = async (name: string) => {
    const rows = rowsNamed(name, 50)
    for (const row of rows) {
      const { key, value } = toMutation(row, originPort)
      written.push({ key, revision: await store.put(key, value ?? {}) })
    }
    return rows
  }
  const writtenRows = await write('before')
  for (let kill = 1; kill <= KILLS; kill += 1) {
    await redis.kill()
    await traffic.goesOnFor(faultMs, `kill ${kill}`)
    await redis.start()
    await until(
      () =>
        write(`after${kill}-`).then(
          (rows) => writtenRows.push(...rows) > 0,
          () => false,
        ),
      'writes succeed',
    )
    await untilTablesFollow(edges, store)
  }
  const last = written.at(-1)?.revision ?? 0
  await until(() => reader.position().revision >= last, 'the reader has everything')
  const mine = reader.changes.filter(({ key }) => key.startsWith('route/'))
  const read = mine.map(({ key, revision }) => ({ key, revision }))
  t.same(read, written, 'the feed has every change once, in order')
  t.equal(reader.resyncs(), 0, 'nobody has to list again')
  t.ok(reader.losses() >= KILLS, 'the reader did lose its feed')
  const expected = new Map(writtenRows.map(({ hostname, number }) => [hostname, number]))
  for (const edge of edges) t.same(await findDifferences(edge, expected.keys(), expected), [])
  for (const edge of edges) {
    const isListed = edge.logged().some(({ msg }) => /is held|lost its data/.test(msg))
    t.notOk(isListed, `${edge.name} takes the store for the same one`)
  }
  await traffic.finish()
})
