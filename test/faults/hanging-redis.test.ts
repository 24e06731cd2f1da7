/** Redis stands still without closing anything: edges serve, say so, and come back by themselves. */

import { randomInt } from 'node:crypto'
import t from 'tap'
import { lostTimeFor } from '../helpers/lost-time.ts'
import { redisFor } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'
import { apiTokenFor } from './api-token.ts'
import { ask } from './ask.ts'
import { faultTimeFor } from './fault-time.ts'
import { findDifferences, fleetFor, untilTablesFollow } from './fleet.ts'
import { DOMAIN } from './numbered-rows.ts'
import { readReadiness, readTable } from './table-state.ts'
import { startTraffic } from './traffic.ts'

/** At random moments of the pauses between two attempts. */
const faultMs = faultTimeFor(t, { seconds: 5 }) + randomInt(2_000)
const WRITE_LIMIT_MS = 3_000
const RECOVERY_MS = 5_000

t.test('edges serve while Redis hangs, refuse writes soon, and follow again soon after', async (t) => {
  const redis = await redisFor(t)
  const fleet = await fleetFor(t, { redisUrl: `redis://127.0.0.1:${redis.port}` })
  const { edges, store, originPort } = fleet
  const token = await apiTokenFor(fleet)
  const write = (edge = edges[0], number = 1) => {
    if (edge === undefined) throw new Error('there is no edge')
    return ask(edge, {
      hostname: `admin.${DOMAIN}`,
      method: 'PUT',
      path: `/v1/routes/api${number}.${DOMAIN}`,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ upstream: `127.0.0.${number + 2}:${originPort}`, visibility: 'public' }),
    })
  }
  t.match((await write()).status, /^20[01]$/, 'a write succeeds before')
  const traffic = startTraffic(t, fleet)
  redis.signal('SIGSTOP')
  t.teardown(() => redis.signal('SIGCONT'))
  const hungFrom = performance.now()
  const lostMs = lostTimeFor(t)
  while (performance.now() - hungFrom < faultMs) {
    for (const edge of edges) {
      const askedAt = performance.now()
      const { status, body } = await write(edge, 2)
      const tookMs = performance.now() - askedAt
      t.equal(status, 503, 'a write is refused')
      t.match(body, /store_unreachable/, 'because of the store')
      t.ok(tookMs < WRITE_LIMIT_MS + lostMs(), `within ${WRITE_LIMIT_MS} ms (${Math.round(tookMs)})`)
    }
    await traffic.goesOnFor(Math.min(500, faultMs), 'while Redis hangs')
  }
  for (const edge of edges) {
    const { ageSeconds, rows } = await readTable(edge)
    t.ok(
      ageSeconds > 0 && ageSeconds < (faultMs + 20_000) / 1_000,
      `${edge.name} tells its age, ${ageSeconds} s`,
    )
    t.ok(rows >= fleet.rows.length, `${edge.name} has its rows`)
    const { status, table } = await readReadiness(edge)
    t.equal(status, 200, `${edge.name} stays ready`)
    t.ok((table.ageSeconds ?? 0) >= ageSeconds, `${edge.name} says how stale it is, ${table.ageSeconds} s`)
    await until(async () => (await readTable(edge)).ageSeconds > ageSeconds, 'the age grows')
  }
  redis.signal('SIGCONT')
  const wokenAt = performance.now()
  await Promise.all(
    edges.map((edge) => until(async () => (await readTable(edge)).ageSeconds === 0, `${edge.name} is fresh`)),
  )
  const tookMs = performance.now() - wokenAt
  t.ok(tookMs <= RECOVERY_MS, `fresh again within ${RECOVERY_MS} ms (${Math.round(tookMs)})`)
  for (const [index, edge] of edges.entries()) {
    t.match((await write(edge, 10 + index)).status, /^20[01]$/, `a write through ${edge.name} succeeds`)
  }
  await untilTablesFollow(edges, store)
  const expected = new Map(edges.map((_, index) => [`api${10 + index}.${DOMAIN}`, 10 + index]))
  for (const edge of edges) t.same(await findDifferences(edge, expected.keys(), expected), [])
  await traffic.finish()
})
