/** Sentinels replace the master while rows are written: edges have what the new master has, whatever it kept. */

import t, { type Test } from 'tap'
import { type RedisSentinels, sentinelsFor } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'
import { faultTimeFor } from './fault-time.ts'
import { type FeedReader, startFeedReader } from './feed-reader.ts'
import { type Fleet, findDifferences, fleetFor, storeFor, untilTablesFollow } from './fleet.ts'
import { type NumberedRow, readNumbers, rowsNamed, writeRows } from './numbered-rows.ts'
import { startWriters, type Writers } from './numbered-writers.ts'
import { startTraffic } from './traffic.ts'

const NAME = 'written'
/** Sentinels take their time, in which the processor has nothing to do: two scenes at once. */
t.jobs = 2

/** How long writes go on before and after the failover. */
const faultMs = faultTimeFor(t, { seconds: 1.5, faults: 9 })

interface Scene extends Fleet {
  readonly sentinels: RedisSentinels
  readonly reader: FeedReader
  readonly startWriters: () => Promise<Writers>
}

async function sceneFor(t: Test): Promise<Scene> {
  const sentinels = await sentinelsFor(t)
  const redisUrl = sentinels.url
  const fleet = await fleetFor(t, { redisUrl })
  const reader = await startFeedReader(await storeFor(t, { redisUrl }))
  t.teardown(() => reader.stop())
  return {
    ...fleet,
    sentinels,
    reader,
    startWriters: async () => {
      const stores = [await storeFor(t, { redisUrl }), await storeFor(t, { redisUrl })]
      const writers = startWriters(stores, { name: NAME, originPort: fleet.originPort })
      t.teardown(() => writers.stop())
      return writers
    },
  }
}

async function checkTables(
  t: Test,
  { store, edges }: Pick<Scene, 'store' | 'edges'>,
  hostnames: Iterable<string>,
): Promise<void> {
  await untilTablesFollow(edges, store)
  const names = [...hostnames]
  const kept = await readNumbers(store, NAME)
  t.comment(`the new master has ${kept.size} of ${names.length} names that were written`)
  for (const edge of edges) {
    t.same(await findDifferences(edge, names, kept), [], `${edge.name} has what the new master has`)
  }
}

/** The feed must have gone up all the time, with nothing twice. */
function checkFeed(t: Test, { reader }: Scene): void {
  const falls = reader.changes.filter(({ revision }, index) => {
    const before = reader.changes[index - 1]
    return before !== undefined && revision <= before.revision
  })
  t.same(reader.falls, [], 'no revision is told after a higher one')
  t.same(falls, [], 'no revision of the feed comes twice')
}

/** Acknowledged writes after which nobody wrote the name, and that the new master does not have. */
async function findLost({ store }: Scene, { acknowledged }: Writers): Promise<string[]> {
  const kept = await readNumbers(store, NAME)
  const last = new Map(acknowledged.map(({ hostname, number }) => [hostname, number]))
  return [...last].filter(([hostname, number]) => kept.get(hostname) !== number).map(([hostname]) => hostname)
}

interface Failover {
  readonly begin: () => Promise<void>
  /** As soon as the Sentinels name another master, which others may not have noticed yet. */
  readonly atSwitch?: () => void
  /** When the new master has taken writes. */
  readonly end?: () => void
}

async function failOver(t: Test, scene: Scene, fault: Failover): Promise<void> {
  const traffic = startTraffic(t, scene)
  const writers = await scene.startWriters()
  await traffic.goesOnFor(faultMs, 'before')
  const before = writers.acknowledged.length
  await fault.begin()
  await scene.sentinels.untilSwitched()
  fault.atSwitch?.()
  await until(() => writers.acknowledged.length > before + 20, 'writes succeed on the new master')
  fault.end?.()
  await traffic.goesOnFor(faultMs, 'after')
  const settledFrom = writers.acknowledged.length
  await until(() => writers.acknowledged.length > settledFrom + 100, 'writes go on')
  await writers.stop()
  t.comment(`${writers.acknowledged.length} writes acknowledged, ${writers.failed()} failed`)
  await checkTables(t, scene, writers.hostnames)
  checkFeed(t, scene)
  t.same(await findLost(scene, writers), [], 'no name ends with a write that was acknowledged and is gone')
  await traffic.finish()
}

t.test('a master is killed while rows are written', { buffered: true }, async (t) => {
  const scene = await sceneFor(t)
  const { master } = scene.sentinels
  await failOver(t, scene, { begin: () => master.kill() })
})

t.test(
  'a master that hung until another one took over goes on as if nothing had been',
  { buffered: true },
  async (t) => {
    const scene = await sceneFor(t)
    const { master } = scene.sentinels
    await failOver(t, scene, {
      begin: async () => master.signal('SIGSTOP'),
      end: () => master.signal('SIGCONT'),
    })
  },
)

t.test('a master that hung wakes up before its clients have left it', { buffered: true }, async (t) => {
  const scene = await sceneFor(t)
  const { master } = scene.sentinels
  await failOver(t, scene, {
    begin: async () => master.signal('SIGSTOP'),
    atSwitch: () => master.signal('SIGCONT'),
  })
})

/** The replica is cut off; then rows are added and changed that it never gets, and that every edge has seen. */
async function writeInVain(t: Test, { store, originPort, edges, sentinels }: Scene) {
  const kept = rowsNamed(`${NAME}-kept`, 40)
  await writeRows(store, kept, originPort)
  await sentinels.master.admin.call('WAIT', 1, 5_000)
  sentinels.replica.signal('SIGSTOP')
  await sentinels.master.admin.call('CLIENT', 'KILL', 'TYPE', 'replica')
  const lost = rowsNamed(`${NAME}-lost`, 40)
  const changed = kept.slice(0, 20).map(({ hostname, number }) => ({ hostname, number: number + 1_000 }))
  await writeRows(store, [...lost, ...changed], originPort)
  await untilTablesFollow(edges, store)
  const seen = toNumbers([...kept, ...lost, ...changed])
  for (const edge of edges)
    t.same(await findDifferences(edge, seen.keys(), seen), [], `${edge.name} has seen it`)
  return { kept, hostnames: [...seen.keys()] }
}

function toNumbers(rows: readonly NumberedRow[]): Map<string, number> {
  return new Map(rows.map(({ hostname, number }) => [hostname, number]))
}

t.test(
  'what the new master never got disappears from the edges that have seen it',
  { buffered: true },
  async (t) => {
    const scene = await sceneFor(t)
    const { store, sentinels, reader } = scene
    const traffic = startTraffic(t, scene)
    const { kept, hostnames } = await writeInVain(t, scene)
    await sentinels.master.kill()
    sentinels.replica.signal('SIGCONT')
    await sentinels.untilSwitched()
    await traffic.goesOnFor(faultMs, 'after the failover')
    await until(
      () =>
        readNumbers(store, NAME).then(
          () => true,
          () => false,
        ),
      'the new master answers',
    )
    t.same(await readNumbers(store, NAME), toNumbers(kept), 'the new master lost exactly that')
    await checkTables(t, scene, hostnames)
    checkFeed(t, scene)
    t.ok(reader.resyncs() > 0, 'who had read it was told to list again')
    await traffic.finish()
  },
)

t.test(
  'revisions that the new master gives away again are not taken for the old ones',
  { buffered: true },
  async (t) => {
    const scene = await sceneFor(t)
    const { originPort, edges, sentinels, reader } = scene
    const traffic = startTraffic(t, scene)
    const { hostnames } = await writeInVain(t, scene)
    const { revision: seen } = reader.position()
    // Whoever has seen a revision makes the store go on above it: they sleep until it is too late.
    await reader.stop()
    for (const edge of edges) edge.signal('SIGSTOP')
    await sentinels.master.kill()
    sentinels.replica.signal('SIGCONT')
    await sentinels.untilSwitched()
    const stranger = await storeFor(t, { redisUrl: sentinels.url })
    const others = rowsNamed(`${NAME}-other`, 100)
    await until(
      () =>
        writeRows(stranger, others.slice(0, 1), originPort).then(
          () => true,
          () => false,
        ),
      'it takes writes',
    )
    const { revision: first } = await stranger.list('', { limit: 1 })
    t.ok(first <= seen, `the new master is at ${first} again, edges were at ${seen}`)
    await writeRows(stranger, others, originPort)
    t.ok((await stranger.list('', { limit: 1 })).revision > seen, 'and then above what edges have seen')
    for (const edge of edges) edge.signal('SIGCONT')
    const names = [...hostnames, ...others.map(({ hostname }) => hostname)]
    await checkTables(t, { ...scene, store: stranger }, names)
    await traffic.finish()
  },
)
