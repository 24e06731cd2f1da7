/**
 * Rows that got into the store past every check: each is refused, counted and named in the log, whatever is wrong with
 * it; nothing is served for it, the last good row stays, and all that comes behind it arrives.
 */

import { request } from 'node:http'
import t, { type Test } from 'tap'
import type { RouteRecord } from '../../routing/records/records.ts'
import { startRedisStore } from '../../routing/store/redis-store.ts'
import type { Document, Store } from '../../routing/store/store.ts'
import { type RouteTable, startRouteTable } from '../../routing/table/route-table.ts'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { createListLog } from '../helpers/list-log.ts'
import { originFor } from '../helpers/origin.ts'
import { type RedisProcess, redisFor } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'

t.setTimeout(60_000)

const DOCS = '{landfall}:docs'
const KEYS = '{landfall}:keys'
const FEED = '{landfall}:feed'
/** Deeper than any recursion gets. */
const DEEP_JSON = `${'['.repeat(200_000)}${']'.repeat(200_000)}`

const GRANT = { id: 'g1', to: { kind: 'user', value: 'u1' }, role: 'viewer' }

/** A good row for `hostname`. */
function goodRow(hostname: string, port = 80): Document {
  const upstream = { host: '127.0.0.1', port }
  return { hostname, visibility: 'public', state: 'running', generation: 0, upstream }
}

/** What is put in place of good fields; undefined takes one away. */
const SPOILED: readonly Record<string, unknown>[] = [
  { hostname: undefined },
  { hostname: 7 },
  { hostname: 'another.localhost' },
  { hostname: 'single' },
  { hostname: `${'a'.repeat(64)}.localhost` },
  { hostname: 'a'.repeat(1_048_576) },
  { visibility: undefined },
  { visibility: 'PUBLIC' },
  { visibility: ['public'] },
  { state: 'paused' },
  { state: { toString: 'running' } },
  { generation: undefined },
  { generation: -1 },
  { generation: 1.5 },
  { generation: 2 ** 60 },
  { generation: '0' },
  { vm: 'app' },
  { port: 80 },
  { vm: 'app', port: 0 },
  { vm: 'app', port: 65_536 },
  { vm: '../admin', port: 80 },
  { pool: 'A B' },
  { upstream: undefined },
  { upstream: null },
  { upstream: '127.0.0.1:80' },
  { upstream: { host: '127.0.0.1' } },
  { upstream: { host: '127.0.0.1', port: 0 } },
  { upstream: { host: '127.0.0.1', port: 65_536 } },
  { upstream: { host: '127.0.0.1', port: '80' } },
  { upstream: { host: '127.0.0.1', port: 80.5 } },
  { upstream: { host: '', port: 80 } },
  { upstream: { host: '127.0.0.1\r\nX-Evil: 1', port: 80 } },
  { upstream: { host: 'a b', port: 80 } },
  { upstream: { host: 'fe80::1%lo', port: 80 } },
  { upstream: { host: '0x7f.1', port: 80 } },
  { upstream: { host: 'UPPER.example', port: 80 } },
  { upstream: { host: `${'a.'.repeat(200)}example`, port: 80 } },
  { upstream: [{ host: '127.0.0.1', port: 80 }] },
  { grants: {} },
  { grants: 'all' },
  { grants: [null] },
  { grants: [{ ...GRANT, role: 'owner' }] },
  { grants: [{ ...GRANT, to: { kind: 'everybody', value: 'x' } }] },
  { grants: [{ ...GRANT, to: { kind: 'user', value: '' } }] },
  { grants: [{ ...GRANT, expiresAt: 'never' }] },
  { grants: Array.from({ length: 1_001 }, () => GRANT) },
]

/** Keys that no row can have. */
const STRANGE_KEYS = [
  'route/',
  'route//',
  'route/single',
  'route/UPPER.localhost',
  'route/dot.localhost.',
  'route/a/b.localhost',
  'route/..',
  'route/127.0.0.1',
  'route/b\u00fccher.localhost',
  'route/__proto__',
  'route/a.localhost\n',
  `route/${'a'.repeat(1_000)}`,
]

const POISONS: readonly { readonly key: string; readonly value: Document }[] = [
  ...SPOILED.map((fields, index) => ({
    key: `route/spoiled${index}.localhost`,
    value: without({ ...goodRow(`spoiled${index}.localhost`), ...fields }),
  })),
  ...STRANGE_KEYS.map((key) => ({ key, value: goodRow(key.slice('route/'.length)) })),
  { key: 'route/empty.localhost', value: {} },
  { key: 'route/proto.localhost', value: JSON.parse('{"__proto__": {"hostname": "proto.localhost"}}') },
]

function without(fields: Record<string, unknown>): Document {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

async function refusedBy(edge: TestEdge): Promise<number> {
  const metrics = await (await fetch(`http://127.0.0.1:${edge.opsPort}/metrics`)).text()
  return Number(/^landfall_table_refused_total (\d+)/m.exec(metrics)?.[1] ?? Number.NaN)
}

/** Status over the plain port. */
function statusOf(edge: TestEdge, hostname: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ port: edge.httpPort, host: '127.0.0.1', headers: { host: hostname } })
    outgoing.once('error', reject).once('response', (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    outgoing.end()
  })
}

t.test('each poisoned row is refused and counted once, and the row behind it is served', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  const refusals = () => edge.logged.filter(({ message }) => message.includes('refuses a record'))
  for (const [index, { key, value }] of POISONS.entries()) {
    const refused = await refusedBy(edge)
    await edge.store.put(key, value)
    const behind = `behind${index}.localhost`
    await edge.route(behind, origin.port)
    t.equal((await refusedBy(edge)) - refused, 1, `${key.slice(0, 60)} is counted`)
    t.equal(await statusOf(edge, behind), 200, 'what comes behind it is served')
  }
  t.match(
    refusals().map(({ key }) => key),
    POISONS.map(({ key }) => key),
    'the log names each',
  )
  t.ok(JSON.stringify(refusals()).length < 200_000, 'without repeating it')
  for (const index of SPOILED.keys()) {
    t.equal(await statusOf(edge, `spoiled${index}.localhost`), 404, `nothing is served for ${index}`)
  }
  t.equal(({} as Record<string, unknown>).hostname, undefined, 'no prototype was touched')
})

t.test('the last good row stays until there is another good one', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  const hostname = 'kept.localhost'
  for (const fields of SPOILED) {
    await edge.route(hostname, origin.port)
    const refused = await refusedBy(edge)
    await edge.store.put(`route/${hostname}`, without({ ...goodRow(hostname), ...fields }))
    await until(async () => (await refusedBy(edge)) > refused, 'it is refused')
    t.equal(await statusOf(edge, hostname), 200, `after ${JSON.stringify(fields).slice(0, 60)}`)
  }
  await edge.store.delete(`route/${hostname}`)
  await until(async () => (await statusOf(edge, hostname)) === 404, 'a deletion counts')
})

t.test('fields that are not known do no harm, however large they are', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  const refused = await refusedBy(edge)
  const unknown = { newField: { deep: [1, [2, [3]]] }, blob: 'x'.repeat(1_048_576), constructor: 1 }
  await edge.store.put('route/odd.localhost', { ...goodRow('odd.localhost', origin.port), ...unknown })
  await until(async () => (await statusOf(edge, 'odd.localhost')) === 200, 'the row is served')
  t.equal(await refusedBy(edge), refused)
})

async function redisStoreFor(t: Test, redis: RedisProcess, commandTimeoutMs = 2_000): Promise<Store> {
  const url = `redis://127.0.0.1:${redis.port}`
  const store = await startRedisStore({ url, commandTimeoutMs }, { log: createListLog() })
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}

async function tableFor(t: Test, store: Store): Promise<RouteTable> {
  const table = await startRouteTable({ store, log: createListLog() }, { maxRetryMs: 200 })
  t.teardown(() => table[Symbol.asyncDispose]())
  return table
}

function portOf(route: RouteRecord | undefined): number | undefined {
  return route?.upstream?.port
}

t.test('a table loads around all of them', async (t) => {
  const redis = await redisFor(t)
  const store = await redisStoreFor(t, redis)
  for (const { key, value } of POISONS) await store.put(key, value)
  await redis.admin.hset(DOCS, 'route/deep.localhost', `1:{"hostname":${DEEP_JSON}}`)
  await redis.admin.zadd(KEYS, 0, 'route/deep.localhost')
  await store.put('route/zz.localhost', goodRow('zz.localhost'))
  const table = await tableFor(t, store)
  await until(() => table.find('zz.localhost') !== undefined, 'the good row is there')
  t.equal(table.size, 1, 'and no other')
  t.equal(table.status().refused.count, POISONS.length + 1)
})

t.test('a value too deep to be looked at does not stop the feed', async (t) => {
  const redis = await redisFor(t)
  const store = await redisStoreFor(t, redis)
  await store.put('route/first.localhost', goodRow('first.localhost'))
  const table = await tableFor(t, store)
  await redis.admin.xadd(FEED, '*', 'k', 'route/deep.localhost', 'v', `{"hostname":${DEEP_JSON}}`)
  await store.put('route/behind.localhost', goodRow('behind.localhost'))
  await until(() => table.find('behind.localhost') !== undefined, 'the next row arrives', 3_000)
  t.equal(table.status().refused.count, 1)
})

t.test('a row under a revision that was never reached does not hide what is written later', async (t) => {
  const redis = await redisFor(t)
  const store = await redisStoreFor(t, redis)
  await store.put('route/first.localhost', goodRow('first.localhost'))
  const row = JSON.stringify(goodRow('ahead.localhost', 81))
  await redis.admin.hset(DOCS, 'route/ahead.localhost', `900000000000000:${row}`)
  await redis.admin.zadd(KEYS, 0, 'route/ahead.localhost')
  const table = await tableFor(t, store)
  await store.put('route/ahead.localhost', goodRow('ahead.localhost', 82))
  await until(() => portOf(table.find('ahead.localhost')) === 82, 'the later row is there', 3_000)
  await store.delete('route/ahead.localhost')
  await until(() => table.find('ahead.localhost') === undefined, 'the deletion counts', 3_000)
})

t.test('rows that are good but large do not keep a table from loading', async (t) => {
  const redis = await redisFor(t)
  const writer = await redisStoreFor(t, redis)
  const to = { kind: 'email', value: 'somebody.with.a.name@example.test' }
  const grants = Array.from({ length: 1_000 }, (_, index) => ({ ...GRANT, id: `grant-${index}`, to }))
  const rows = 1_000
  for (let start = 0; start < rows; start += 50) {
    const part = Array.from({ length: 50 }, (_, index) => `big${start + index}.localhost`)
    await writer.commit(
      part.map((hostname) => ({ key: `route/${hostname}`, value: { ...goodRow(hostname), grants } })),
    )
  }
  // 100 MB take longer than one command may.
  const table = await tableFor(t, await redisStoreFor(t, redis, 400))
  await until(() => table.size === rows, 'all rows are there', 60_000)
})
