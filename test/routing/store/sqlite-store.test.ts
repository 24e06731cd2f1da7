/** What the SQLite store promises beyond every store: durability, one process, a private file. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import t, { type Test } from 'tap'
import { startSqliteStore } from '../../../routing/store/sqlite-store.ts'
import type { Store, StoreSettings } from '../../../routing/store/store.ts'

t.test('keeps documents, revision, feed and lease tokens across a restart', async (t) => {
  const folder = t.testdir()
  const clock = { now: () => 1_000 }
  const before = await startSqliteStore(folder, clock)
  await before.put('a', { n: 1 })
  await before.put('b', { n: 2 })
  await before.delete('a')
  const lease = await before.acquireLease('x', 'me', 500)
  const { storeId, mark } = await before.list('')
  await before[Symbol.asyncDispose]()

  const after = await storeFor(t, folder, clock)
  const documents = [{ key: 'b', value: { n: 2 }, revision: 2 }]
  t.strictSame(await after.list(''), { documents, revision: 3, storeId, mark }, 'it is the same store')
  t.equal(await after.put('c', {}), 4)
  const [event] = await Array.fromAsync(take(after.watch(0, signalFor(t)), 1))
  t.match(event, { changes: [{ key: 'a' }, { key: 'b' }, { key: 'a', value: undefined }, { key: 'c' }] })
  t.equal(await after.acquireLease('x', 'other', 500), undefined, 'the lease is still held')
  t.match(await after.acquireLease('x', 'me', 500), { token: lease?.token })
})

t.test('gives a larger token after a restart in which the lease ran out', async (t) => {
  const folder = t.testdir()
  const before = await startSqliteStore(folder, { now: () => 1_000 })
  const lease = await before.acquireLease('x', 'me', 500)
  await before[Symbol.asyncDispose]()
  const after = await storeFor(t, folder, { now: () => 1_500 })
  t.match(await after.acquireLease('x', 'me', 500), { token: Number(lease?.token) + 1 })
})

t.test('says resync when a restart keeps a shorter feed, and when an earlier one did', async (t) => {
  const folder = t.testdir()
  const before = await startSqliteStore(folder, { feedLimit: 3 })
  for (let n = 1; n <= 10; n += 1) await before.put('a', { n })
  await before[Symbol.asyncDispose]()
  const after = await storeFor(t, folder, { feedLimit: 100 })
  t.strictSame(await Array.fromAsync(after.watch(6, signalFor(t))), [{ kind: 'resync' }])
  const [event] = await Array.fromAsync(take(after.watch(7, signalFor(t)), 1))
  t.match(event, { changes: [{ revision: 8 }, { revision: 9 }, { revision: 10 }] })
})

t.test('trims the feed in the file', async (t) => {
  const folder = t.testdir()
  const store = await startSqliteStore(folder, { feedLimit: 3 })
  for (let n = 1; n <= 10; n += 1) await store.put('a', { n })
  await store[Symbol.asyncDispose]()
  const database = new DatabaseSync(join(folder, 'landfall.sqlite'))
  t.teardown(() => database.close())
  t.equal(database.prepare('SELECT count(*) AS count FROM feed').get()?.count, 3)
})

t.test('loses no acknowledged write when the process is killed', async (t) => {
  const folder = t.testdir({ 'writer.ts': '' })
  await writeFile(join(folder, 'writer.ts'), WRITER)
  const child = spawn(process.execPath, [join(folder, 'writer.ts'), folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'exit')
  let acknowledged = 0
  for await (const line of createInterface(child.stdout)) {
    acknowledged = Math.max(acknowledged, Number(line))
    if (acknowledged > 200) child.kill('SIGKILL')
  }
  await ended
  t.equal(child.signalCode, 'SIGKILL')
  const store = await storeFor(t, folder)
  const { revision } = await store.list('')
  t.ok(revision >= acknowledged, `${acknowledged} were acknowledged, ${revision} are there`)
  for (let n = 1; n <= acknowledged; n += 1) {
    if ((await store.get(`k/${n}`))?.revision !== n) t.fail(`write ${n} is lost`)
  }
})

t.test('keeps its files to their owner, also where they were open to others', async (t) => {
  const folder = t.testdir({ 'landfall.sqlite': '' })
  const store = await storeFor(t, folder)
  await store.put('a', {})
  const files = await readdir(folder)
  t.ok(files.includes('landfall.sqlite-wal'))
  for (const file of files) t.equal((await stat(join(folder, file))).mode & 0o777, 0o600, file)
})

t.test('makes a data folder that only its owner can enter', async (t) => {
  const folder = join(t.testdir(), 'new', 'data')
  await storeFor(t, folder)
  t.equal((await stat(folder)).mode & 0o777, 0o700)
})

t.test('refuses the schema of a newer version and leaves it alone', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'landfall.sqlite')
  const newer = new DatabaseSync(path)
  newer.exec('CREATE TABLE wonders (n INTEGER); PRAGMA user_version = 9')
  newer.close()
  await t.rejects(startSqliteStore(folder), { code: 'store_schema_newer', detail: /version 9/ })
  const unharmed = new DatabaseSync(path)
  t.teardown(() => unharmed.close())
  t.equal(unharmed.prepare('PRAGMA user_version').get()?.user_version, 9)
  t.strictSame(
    unharmed
      .prepare('SELECT name FROM sqlite_schema')
      .all()
      .map(({ name }) => name),
    ['wonders'],
  )
})

t.test('refuses a second opener while the first holds the file', async (t) => {
  const folder = t.testdir()
  const first = await startSqliteStore(folder)
  await t.rejects(startSqliteStore(folder), { code: 'store_unusable', detail: /locked/ })
  await first.put('a', {})
  await first[Symbol.asyncDispose]()
  t.ok(await (await storeFor(t, folder)).get('a'))
})

t.test('refuses a file that is no database, and a folder that cannot be', async (t) => {
  const folder = t.testdir({ 'landfall.sqlite': 'x'.repeat(4_096) })
  await t.rejects(startSqliteStore(folder), { code: 'store_unusable', cause: Error })
  await t.rejects(startSqliteStore(join(folder, 'landfall.sqlite', 'sub')), { code: 'store_unusable' })
})

t.test('undoes a batch that the disk refuses, for all of its callers', async (t) => {
  const folder = t.testdir()
  const full = await startSqliteStore(folder)
  await full[Symbol.asyncDispose]()
  const database = new DatabaseSync(join(folder, 'landfall.sqlite'))
  database.exec(
    "CREATE TRIGGER full BEFORE INSERT ON feed WHEN NEW.key = 'bad' BEGIN SELECT RAISE(FAIL, 'full'); END",
  )
  database.close()
  const store = await storeFor(t, folder)
  const settled = await Promise.allSettled([
    store.put('good', {}),
    store.put('bad', {}),
    store.acquireLease('x', 'a', 1),
  ])
  for (const outcome of settled) t.match(outcome, { status: 'rejected', reason: { code: 'store_failed' } })
  t.match(await store.list(''), { documents: [], revision: 0 })
  t.equal(await store.put('good', {}), 1, 'the revision was taken back too')
})

t.test('does not hold up the event loop for a burst of 10,000 writes', async (t) => {
  const store = await storeFor(t, t.testdir())
  const writes = Array.from({ length: 10_000 }, (_, n) => store.put(`k/${n}`, { n }))
  let turns = 0
  const count = () => {
    turns += 1
    if (turns < 10_000) setImmediate(count)
  }
  setImmediate(count)
  await Promise.all(writes)
  t.ok(turns >= 30, `other work had ${turns} turns`)
  turns = 10_000
})

function signalFor(t: Test): AbortSignal {
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  return stop.signal
}

async function storeFor(t: Test, folder: string, settings: StoreSettings = {}): Promise<Store> {
  const store = await startSqliteStore(folder, settings)
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}

async function* take<Item>(items: AsyncIterable<Item>, count: number): AsyncIterable<Item> {
  let taken = 0
  for await (const item of items) {
    yield item
    taken += 1
    if (taken === count) return
  }
}

/** Writes in small bursts for ever, and prints the number of each write that was acknowledged. */
const WRITER = `
import { startSqliteStore } from '${new URL('../../../routing/store/sqlite-store.ts', import.meta.url).href}'
const store = await startSqliteStore(process.argv[2])
for (let n = 1; ; n += 10) {
  const burst = Array.from({ length: 10 }, (_, index) => store.put('k/' + (n + index), { n: n + index }))
  process.stdout.write(Math.max(...(await Promise.all(burst))) + '\\n')
}
`
