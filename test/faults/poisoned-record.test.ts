/** Somebody writes rubbish into Redis, past all checks: it is refused, counted and skipped, and all else goes on. */

import type { Redis } from 'ioredis'
import t from 'tap'
import type { Store } from '../../routing/store/store.ts'
import { redisFor } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'
import { faultTimeFor } from './fault-time.ts'
import { findDifferences, fleetFor, untilTablesFollow } from './fleet.ts'
import { DOMAIN, rowsNamed, toMutation, toRecord, writeRows } from './numbered-rows.ts'
import { readTable } from './table-state.ts'
import { startTraffic } from './traffic.ts'

faultTimeFor(t, { seconds: 0 })

const [DOCS, KEYS, FEED] = ['{landfall}:docs', '{landfall}:keys', '{landfall}:feed']
const MEGABYTE = 1_048_576

interface Poison {
  readonly name: string
  /** How many records an edge that follows the feed may refuse for it. */
  readonly refused: readonly number[]
  readonly add: (admin: Redis, store: Store, port: number) => Promise<unknown>
}

const keyOf = (label: string) => `route/${label}.${DOMAIN}`
const goodRow = (label: string, port: number) => toRecord({ hostname: `${label}.${DOMAIN}`, number: 7 }, port)

const POISONS: readonly Poison[] = [
  {
    name: 'an entry of the feed without any field of ours',
    refused: [0],
    add: (admin) => admin.xadd(FEED, '*', 'hello', 'world'),
  },
  {
    name: 'an entry with a key and nothing else',
    refused: [1],
    add: (admin) => admin.xadd(FEED, '*', 'k', keyOf('keyonly')),
  },
  {
    name: 'an entry with broken JSON',
    refused: [1],
    add: (admin) => admin.xadd(FEED, '*', 'k', keyOf('broken'), 'v', '{"hostname":'),
  },
  {
    // Readers list again, and there is no such row.
    name: 'an entry whose predecessor is no place at all',
    refused: [0],
    add: (admin) => admin.xadd(FEED, '*', 'm', 'x', 'p', '::', 'k', keyOf('placeless'), 'v', '[]'),
  },
  {
    // Whoever has read the first one does not look for another.
    name: 'two entries under one revision',
    refused: [1, 2],
    add: async (admin) => {
      const id = await admin.xadd(FEED, '*', 'k', keyOf('twin'), 'v', 'null')
      await admin.xadd(FEED, `${id?.split('-')[0]}-9`, 'k', keyOf('twin'), 'v', '3')
    },
  },
  {
    name: 'a row with port 0',
    refused: [1],
    add: (_admin, store, port) =>
      store.put(keyOf('port0'), { ...goodRow('port0', port), upstream: { host: '127.0.0.1', port: 0 } }),
  },
  {
    name: 'a row under the key of another',
    refused: [1],
    add: (_admin, store, port) => store.put(keyOf('wrong'), { ...goodRow('right', port) }),
  },
  {
    name: 'a row under a key without a name',
    refused: [1],
    add: (_admin, store, port) => store.put('route/', { ...goodRow('nameless', port) }),
  },
  {
    name: 'a row of the wrong types throughout',
    refused: [1],
    add: (_admin, store) =>
      store.put(keyOf('types'), { hostname: 7, upstream: [], grants: 'all', state: {} }),
  },
  {
    name: 'a host name of a megabyte',
    refused: [1],
    add: (_admin, store, port) =>
      store.put(keyOf('long'), { ...goodRow('long', port), hostname: 'a'.repeat(MEGABYTE) }),
  },
  {
    name: 'a megabyte of grants',
    refused: [1],
    add: (_admin, store, port) => {
      const grant = { id: 'g', to: { kind: 'user', value: 'x'.repeat(200) }, role: 'viewer' }
      const grants = Array.from({ length: 4_000 }, () => grant)
      return store.put(keyOf('grants'), { ...goodRow('grants', port), grants })
    },
  },
]

const LEAST_REFUSALS = POISONS.filter(({ refused }) => !refused.includes(0)).length

t.test('every edge skips what it cannot read, says so, and takes all that comes behind it', async (t) => {
  const redis = await redisFor(t)
  const fleet = await fleetFor(t, { redisUrl: `redis://127.0.0.1:${redis.port}` })
  const { store, originPort, edges } = fleet
  const traffic = startTraffic(t, fleet)
  const good = rowsNamed('good', POISONS.length)
  for (const [index, { name, refused, add }] of POISONS.entries()) {
    const before = await Promise.all(edges.map((edge) => readTable(edge)))
    await add(redis.admin, store, originPort)
    const behind = good.slice(index, index + 1)
    await writeRows(store, behind, originPort)
    const expected = new Map(behind.map(({ hostname, number }) => [hostname, number]))
    for (const [at, edge] of edges.entries()) {
      const arrives = async () => (await findDifferences(edge, expected.keys(), expected)).length === 0
      await until(arrives, `${name}: the next write arrives at ${edge.name}`)
      const count = (await readTable(edge)).refused - (before[at]?.refused ?? 0)
      t.ok(refused.includes(count), `${name}: ${edge.name} counts ${count}`)
    }
  }

  const odd = { ...goodRow('odd', originPort), newField: { deep: [1, 2, 3] }, blob: 'x'.repeat(MEGABYTE) }
  await store.put(keyOf('odd'), odd)
  await untilTablesFollow(edges, store)
  const expected = new Map(
    [...good, { hostname: `odd.${DOMAIN}`, number: 7 }].map((row) => [row.hostname, row.number]),
  )
  for (const edge of edges) {
    t.same(await findDifferences(edge, expected.keys(), expected), [], 'unknown fields do no harm')
    const lines = () => edge.logged().filter(({ msg }) => msg.includes('refuses a record'))
    await until(() => lines().length >= LEAST_REFUSALS, `${edge.name} names what it refused`)
    t.ok(JSON.stringify(lines()).length < 100_000, 'without repeating it in the log')
  }
  await traffic.finish()
})

t.test('a poisoned row does not keep an edge from loading, nor take away what another one has', async (t) => {
  const redis = await redisFor(t)
  const fleet = await fleetFor(t, { redisUrl: `redis://127.0.0.1:${redis.port}`, edges: 1 })
  const { store, originPort, edges } = fleet
  const traffic = startTraffic(t, fleet)
  const spoiled = rowsNamed('spoiled', 3)
  await writeRows(store, spoiled, originPort)
  await untilTablesFollow(edges, store)
  const rubbish = ['17:{"hostname":', 'no revision at all', '99999999999999999999999999:{}', '5:[]', ':', '']
  const pairs = rubbish.flatMap((row, index) => [keyOf(`rubbish${index}`), row])
  await redis.admin.hset(DOCS, ...pairs)
  await redis.admin.zadd(
    KEYS,
    ...rubbish.flatMap((_, index) => [0, keyOf(`rubbish${index}`)]),
    0,
    keyOf('rowless'),
  )
  await redis.admin.zadd(KEYS, 0, Buffer.from([...Buffer.from('route/'), 0xff, 0xfe, 0x80]))
  for (const row of spoiled) await redis.admin.hset(DOCS, toMutation(row, originPort).key, '3:{{{{')

  const fresh = await fleet.startEdge('edge-new')
  traffic.join(fresh)
  const { rows, refused } = await readTable(fresh)
  t.equal(rows, fleet.rows.length, 'the new edge has every good row')
  t.ok(refused >= rubbish.length + spoiled.length, `and refused the others (${refused})`)
  const names = spoiled.map(({ hostname }) => hostname)
  t.same(await findDifferences(fresh, names, new Map()), [], 'it has nothing for the spoiled ones')

  // A new history makes the first edge load again.
  await redis.admin.hset('{landfall}:meta', 'mark', 'foreign')
  await redis.admin.del(FEED)
  const later = rowsNamed('later', 5)
  await writeRows(store, later, originPort)
  const all = [...edges, fresh]
  await untilTablesFollow(all, store)
  const kept = new Map(spoiled.map(({ hostname, number }) => [hostname, number]))
  for (const edge of edges) {
    t.ok((await readTable(edge)).refused > 0, 'the first edge did load again')
    t.same(await findDifferences(edge, names, kept), [], 'it keeps the last good rows')
  }
  const expected = new Map(later.map(({ hostname, number }) => [hostname, number]))
  for (const edge of all) t.same(await findDifferences(edge, expected.keys(), expected), [])
  await writeRows(store, spoiled, originPort)
  await untilTablesFollow(all, store)
  for (const edge of all) t.same(await findDifferences(edge, names, kept), [], 'a good write mends a row')
  await traffic.finish()
})
