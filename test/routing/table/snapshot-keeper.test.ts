/** A route table that outlives its process: what it starts from, what it says of that, and when it writes. */

import { readFileSync, statSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { RouteRecord } from '../../../routing/records/records.ts'
import { PackedRows } from '../../../routing/table/packed-rows.ts'
import { ROUTE_FORM, toSnapshotRows } from '../../../routing/table/route-snapshot.ts'
import { type RouteTableSettings, startRouteTable } from '../../../routing/table/route-table.ts'
import { toRowJson } from '../../../routing/table/row-json.ts'
import { type SnapshotSource, startSnapshotKeeper } from '../../../routing/table/snapshot-keeper.ts'
import {
  readSnapshot,
  type SnapshotHead,
  type SnapshotRow,
  writeSnapshot,
} from '../../../routing/table/table-snapshot.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { until } from '../../helpers/until.ts'
import { type FedStore, linesOf, SwitchingStore, storeFor } from '../feed/followed-store.ts'

const FAST = { minRetryMs: 1, maxRetryMs: 4, probeMs: 10 }

t.test('starts from its snapshot while the store is away, and goes on by the feed', async (t) => {
  const file = fileFor(t)
  const store = await storeFor(t)
  for (const name of ['a', 'b']) await store.put(`route/${name}.example`, { ...route(`${name}.example`) })
  const first = await tableFor(t, store, { file })
  await first.table[Symbol.asyncDispose]()
  await store.put('route/c.example', { ...route('c.example') })
  await store.delete('route/a.example')
  const away = new SwitchingStore(store)
  away.failures = Array.from({ length: 20 }, () => new Error('away'))
  const { table } = await tableFor(t, away, { file })
  t.equal(table.ready, true)
  t.same(table.find('a.example'), route('a.example'))
  t.match(table.status(), { source: 'snapshot', revision: 2, rows: 2, held: false, refused: { count: 0 } })
  t.ok(table.ageMs() > 0 && table.ageMs() < 60_000)
  await until(() => table.ageMs() === 0, 'the feed is followed')
  t.equal(table.find('a.example'), undefined)
  t.ok(table.find('c.example'))
  t.match(table.status(), { source: 'store', revision: 4, rows: 2 })
  t.equal(Math.max(...away.limits), 1, 'nothing was listed')
})

t.test('its age is that of its last proof, not that of the process', async (t) => {
  const file = fileFor(t)
  const head = { storeId: 'x', position: { revision: 1, mark: 'm' }, freshAt: Date.now() - 3_600_000 }
  await writeSnapshot(file, {
    head,
    rows: toSnapshotRows(new PackedRows()),
    signal: new AbortController().signal,
  })
  const away = new SwitchingStore(await storeFor(t))
  away.failures = Array.from({ length: 10_000 }, () => new Error('away'))
  const { table } = await tableFor(t, away, { file })
  t.ok(table.ageMs() >= 3_600_000 && table.ageMs() < 3_660_000, String(table.ageMs()))
  const { ino } = statSync(file)
  await table[Symbol.asyncDispose]()
  t.equal(statSync(file).ino, ino, 'and it is not written again')
})

t.test('what is saved after the store was lost is as old as the loss', async (t) => {
  const file = fileFor(t)
  const clock = { nowMs: 0 }
  const away = new SwitchingStore(await storeFor(t))
  const { table } = await tableFor(t, away, { file }, { now: () => clock.nowMs })
  away.failures = Array.from({ length: 10_000 }, () => new Error('away'))
  clock.nowMs = 3_600_000
  await until(() => table.ageMs() === 3_600_000, 'it knows that the store is lost')
  await table[Symbol.asyncDispose]()
  const { freshAt } = await readSnapshot({ file, format: ROUTE_FORM.format }, () => {})
  t.ok(Math.abs(Date.now() - 3_600_000 - freshAt) < 60_000)
})

t.test('a damaged snapshot is put aside, and the table starts as without one', async (t) => {
  const file = fileFor(t)
  const store = await storeFor(t)
  await store.put('route/a.example', { ...route('a.example') })
  await (await tableFor(t, store, { file })).table[Symbol.asyncDispose]()
  const text = await readFile(file, 'utf8')
  await writeFile(file, text.replace('10.0.0.2', '10.0.0.3'))
  const away = new SwitchingStore(store)
  away.failures = [new Error('away')]
  const { table, log } = await tableFor(t, away, { file })
  t.equal(table.ready, false)
  t.equal(table.size, 0)
  t.equal(linesOf(log, 'error').length, 1)
  t.match(linesOf(log, 'error')[0], { err: { message: 'its checksum is wrong' }, aside: `${file}.refused` })
  t.same(await readdir(join(file, '..')), ['table.snapshot.refused'])
  await until(() => table.ready, 'the store is back')
  t.same(table.find('a.example'), route('a.example'))
})

t.test('a row of the snapshot that cannot be read is skipped and reported', async (t) => {
  const file = fileFor(t)
  const rows = [
    { name: 'good.example', revision: 1, json: toRowJson(route('good.example')) },
    { name: 'no-json.example', revision: 2, json: '{' },
    { name: 'bad.example', revision: 3, json: '["secret"]' },
    { name: 'late.example', revision: Number.NaN, json: toRowJson(route('late.example')) },
  ]
  const head = { storeId: 'x', position: { revision: 3, mark: 'm' }, freshAt: Date.now() }
  const signal = new AbortController().signal
  await writeSnapshot(file, { head, rows: { form: ROUTE_FORM, rebuilds: 0, pieces: () => [rows] }, signal })
  const away = new SwitchingStore(await storeFor(t))
  away.failures = Array.from({ length: 10_000 }, () => new Error('away'))
  const { table, log } = await tableFor(t, away, { file })
  t.same(table.find('good.example'), route('good.example'))
  t.equal(table.size, 1)
  t.equal(table.status().refused.count, 3)
  t.same(
    linesOf(log, 'error').map(({ key }) => key),
    ['route/no-json.example', 'route/bad.example', 'route/late.example'],
  )
})

t.test('writes when a row changed, and not when anything else did', async (t) => {
  const source = createSource({ storeId: 'x', position: { revision: 1, mark: 'm' }, freshAt: Date.now() })
  keeperFor(t, source, 5)
  await until(() => source.writes === 1, 'the first snapshot')
  const { looks } = source
  source.head = { storeId: 'x', position: { revision: 2, mark: 'm' }, freshAt: Date.now() }
  await until(() => source.looks >= looks + 5, 'five looks')
  t.equal(source.writes, 1)
  source.changes += 1
  await until(() => source.writes === 2, 'a later snapshot')
})

t.test('writes not oftener than it is told', async (t) => {
  const source = createSource({ storeId: 'x', position: { revision: 1, mark: 'm' }, freshAt: Date.now() })
  const startedAt = performance.now()
  keeperFor(t, source, 30)
  await until(() => {
    source.changes += 1
    return source.writes >= 5
  }, 'five snapshots')
  const tookMs = performance.now() - startedAt
  t.ok(tookMs >= 5 * 29, `${tookMs} ms`)
})

t.test('writes a large table less often: a thousand bytes a millisecond', async (t) => {
  const source = createSource({ storeId: 'x', position: { revision: 1, mark: 'm' }, freshAt: Date.now() })
  source.piece = [{ revision: 1, name: 'a', json: JSON.stringify('x'.repeat(100_000)) }]
  const startedAt = performance.now()
  keeperFor(t, source, 1)
  await until(() => {
    source.changes += 1
    return source.writes >= 4
  }, 'four snapshots')
  const tookMs = performance.now() - startedAt
  t.ok(tookMs >= 3 * 99, `${tookMs} ms`)
})

t.test('a later snapshot holds the rows that came', async (t) => {
  const file = fileFor(t)
  const store = await storeFor(t)
  await store.put('route/a.example', { ...route('a.example') })
  await tableFor(t, store, { file, intervalMs: 30 })
  await until(() => exists(file), 'the first snapshot')
  await store.put('vm/unrelated', {})
  await store.put('route/b.example', { ...route('b.example') })
  await until(() => revisionOf(file) > 1, 'a later snapshot')
  const read: string[] = []
  const head = await readSnapshot({ file, format: ROUTE_FORM.format }, ({ name }) => read.push(name))
  t.same(read, ['a.example', 'b.example'])
  t.equal(head.position.revision, 3)
})

t.test('follows the feed with its position even when only other records change', async (t) => {
  const file = fileFor(t)
  const store = await storeFor(t)
  await store.put('route/a.example', { ...route('a.example') })
  await tableFor(t, store, { file, intervalMs: 30 })
  await until(() => exists(file), 'the first snapshot')
  for (let n = 0; n < 6; n += 1) {
    await store.commit(Array.from({ length: 1_000 }, (_, k) => ({ key: `vm/${n}-${k}`, value: {} })))
  }
  await until(() => revisionOf(file) > 5_000, 'a snapshot of a later position')
})

t.test('writes nothing as long as nothing was loaded', async (t) => {
  const source = createSource(undefined)
  const { keeper, file } = keeperFor(t, source, 5)
  await until(() => source.looks >= 5, 'five looks')
  await keeper[Symbol.asyncDispose]()
  t.equal(exists(file), false)
  const away = new SwitchingStore(await storeFor(t))
  away.failures = Array.from({ length: 10_000 }, () => new Error('away'))
  const { table } = await tableFor(t, away, { file })
  await table[Symbol.asyncDispose]()
  t.equal(exists(file), false, 'a table says that it has nothing')
})

t.test('goes on when the snapshot cannot be written', async (t) => {
  const file = join(t.testdir(), 'no-such-folder', 'table.snapshot')
  const store = await storeFor(t)
  await store.put('route/a.example', { ...route('a.example') })
  const { table, log } = await tableFor(t, store, { file, intervalMs: 5 })
  await until(() => linesOf(log, 'error').length > 0, 'a word of it')
  t.match(linesOf(log, 'error')[0], { err: { code: 'ENOENT' }, file })
  t.ok(table.find('a.example'))
  await table[Symbol.asyncDispose]()
})

t.test('a store that lost its data is held after a restart as well', async (t) => {
  const file = fileFor(t)
  const store = await storeFor(t)
  await store.put('route/a.example', { ...route('a.example') })
  await (await tableFor(t, store, { file })).table[Symbol.asyncDispose]()
  const wiped = await storeFor(t)
  await wiped.put('route/other.example', { ...route('other.example') })
  for (const run of [1, 2]) {
    const { table } = await tableFor(t, wiped, { file })
    t.match(table.status(), { source: 'snapshot', held: true, rows: 1, revision: 1 }, `run ${run}`)
    t.ok(table.find('a.example'))
    t.equal(table.find('other.example'), undefined)
    await table[Symbol.asyncDispose]()
  }
  await wiped.put(`accept/${(await wiped.list('')).storeId}`, {})
  const { table } = await tableFor(t, wiped, { file })
  await until(() => table.find('other.example') !== undefined, 'the new store is taken')
  t.match(table.status(), { source: 'store', held: false, rows: 1, revision: 2 })
})

t.test('does not wait for a store that hangs', async (t) => {
  const file = fileFor(t)
  const store = await storeFor(t)
  await store.put('route/a.example', { ...route('a.example') })
  await (await tableFor(t, store, { file })).table[Symbol.asyncDispose]()
  const hanging = new SwitchingStore(store)
  const gate = hanging.holdList()
  const startedAt = performance.now()
  const { table } = await tableFor(t, hanging, { file }, { startLimitMs: 50 })
  t.ok(performance.now() - startedAt < 3_000)
  t.ok(table.ready && table.find('a.example'))
  gate.resolve()
})

function fileFor(t: Test): string {
  return join(t.testdir(), 'table.snapshot')
}

function exists(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false }) !== undefined
}

function revisionOf(file: string): number {
  return JSON.parse(readFileSync(file, 'utf8').split('\n', 1)[0] ?? '').revision
}

/** A source without rows; a keeper looks for its head at each turn. */
function createSource(head: SnapshotHead | undefined) {
  const source = {
    head,
    changes: 1,
    looks: 0,
    writes: 0,
    piece: [] as readonly SnapshotRow[],
    what: 'a table',
    rows: {
      form: ROUTE_FORM,
      rebuilds: 0,
      pieces: () => {
        source.writes += 1
        return [source.piece]
      },
    },
    findHead: () => {
      source.looks += 1
      return source.head
    },
  }
  return source
}

function keeperFor(t: Test, source: SnapshotSource, intervalMs: number) {
  const file = fileFor(t)
  const keeper = startSnapshotKeeper({ source, log: createListLog(), saved: undefined }, { file, intervalMs })
  t.teardown(() => keeper[Symbol.asyncDispose]())
  return { keeper, file }
}

function route(hostname: string): RouteRecord {
  const upstream = { host: '10.0.0.2', port: 8_000 }
  return { hostname, visibility: 'private', upstream, state: 'running', generation: 1 }
}

async function tableFor(
  t: Test,
  store: FedStore,
  snapshot: { file: string; intervalMs?: number },
  settings: RouteTableSettings = {},
) {
  const log = createListLog()
  const table = await startRouteTable({ store, log }, { ...FAST, ...settings, snapshot })
  t.teardown(() => table[Symbol.asyncDispose]())
  return { table, log }
}
