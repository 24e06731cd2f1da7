/** Redis is killed and comes back empty: edges keep what they know until an operator accepts the loss. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { redisFor } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'
import type { EdgeProcess } from './edge-process.ts'
import { faultTimeFor } from './fault-time.ts'
import { type Fleet, findDifferences, fleetFor, untilTablesFollow } from './fleet.ts'
import { type NumberedRow, rowsNamed, writeRows } from './numbered-rows.ts'
import { readReadiness, readTable } from './table-state.ts'
import { startTraffic, type Traffic } from './traffic.ts'

const faultMs = faultTimeFor(t, { seconds: 2, faults: 3 })
/** An edge that finds no change looks for another store at least this often. */
const NOTICE_MS = 15_000

async function untilSaved(edges: readonly EdgeProcess[]): Promise<void> {
  const isSaved = () => edges.every(({ dataFolder }) => existsSync(join(dataFolder, 'table.snapshot')))
  await until(isSaved, 'every edge has saved its table')
}

/** Kills it and starts it again in its folder; it has to serve from its snapshot at once. */
async function restart(
  t: Test,
  { fleet, traffic, edge }: { fleet: Fleet; traffic: Traffic; edge: EdgeProcess },
): Promise<EdgeProcess> {
  await traffic.leave(edge)
  await edge.kill()
  const again = await fleet.startEdge(edge.name, edge)
  const { status, table } = await readReadiness(again)
  t.equal(status, 200, `${edge.name} is ready again without the store`)
  t.equal(table.source, 'snapshot')
  t.ok(table.rows >= fleet.rows.length, `${edge.name} has its rows again (${table.rows})`)
  traffic.join(again)
  return again
}

async function checkHeld(t: Test, edges: readonly EdgeProcess[]): Promise<void> {
  for (const edge of edges) {
    await until(async () => (await readTable(edge)).isHeld, `${edge.name} holds its table`, NOTICE_MS)
    const { status, table } = await readReadiness(edge)
    t.equal(status, 200, `${edge.name} stays ready`)
    t.equal(table.held, true, `${edge.name} says that its table is held`)
    const count = () => edge.logged().filter(({ msg }) => msg.includes('lost its data')).length
    await until(() => count() > 0, `${edge.name} logs it`)
    t.ok(count() < 5, 'without flooding the log')
  }
}

async function check404(t: Test, edges: readonly EdgeProcess[], rows: readonly NumberedRow[]): Promise<void> {
  const hostnames = rows.map(({ hostname }) => hostname)
  for (const edge of edges) t.same(await findDifferences(edge, hostnames, new Map()), [], 'not there')
}

async function checkServed(
  t: Test,
  edges: readonly EdgeProcess[],
  rows: readonly NumberedRow[],
): Promise<void> {
  const expected = new Map(rows.map(({ hostname, number }) => [hostname, number]))
  for (const edge of edges) t.same(await findDifferences(edge, expected.keys(), expected), [], 'served')
}

t.test('edges hold their rows when Redis comes back empty, until an operator accepts it', async (t) => {
  const redis = await redisFor(t)
  const fleet = await fleetFor(t, { redisUrl: `redis://127.0.0.1:${redis.port}` })
  const { store, originPort } = fleet
  const [first, second] = fleet.edges
  if (first === undefined || second === undefined) throw new Error('two edges are needed')
  const onlyOld = rowsNamed('old', 20)
  await writeRows(store, onlyOld, originPort)
  await untilTablesFollow(fleet.edges, store)
  await untilSaved(fleet.edges)
  const { storeId: oldId } = await store.list('', { limit: 1 })
  const traffic = startTraffic(t, fleet)

  await redis.kill()
  await traffic.goesOnFor(faultMs, 'while Redis is away')
  const secondAgain = await restart(t, { fleet, traffic, edge: second })
  await traffic.goesOnFor(faultMs / 2, 'with an edge that lives by its snapshot')

  await redis.start()
  await checkHeld(t, [first, secondAgain])
  const onlyNew = rowsNamed('new', 20)
  await until(
    () =>
      writeRows(store, onlyNew, originPort).then(
        () => true,
        () => false,
      ),
    'writes succeed',
  )
  const { storeId } = await store.list('', { limit: 1 })
  t.not(storeId, oldId, 'it is another store')
  const firstAgain = await restart(t, { fleet, traffic, edge: first })
  const edges = [firstAgain, secondAgain]
  await checkHeld(t, edges)
  await traffic.goesOnFor(faultMs, 'while the tables are held')
  await checkServed(t, edges, onlyOld)
  await check404(t, edges, onlyNew)

  await writeRows(store, fleet.rows, originPort)
  await store.put(`accept/${storeId}`, { at: new Date().toISOString(), by: 'operator' })
  await untilTablesFollow(edges, store)
  await checkServed(t, edges, onlyNew)
  await check404(t, edges, onlyOld)
  const later = rowsNamed('later', 20)
  await writeRows(store, later, originPort)
  await untilTablesFollow(edges, store)
  await checkServed(t, edges, later)
  for (const edge of edges) {
    t.notOk((await readTable(edge)).isHeld, `${edge.name} holds nothing any more`)
    t.match((await readReadiness(edge)).table, { held: false, source: 'store' }, 'and does not say so')
  }
  // Revisions of another store may be lower.
  await traffic.finish({ maxFalls: 1 })
})
