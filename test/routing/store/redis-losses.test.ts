/** What the store in Redis tells watchers and listings when the server has lost data, or the feed has been trimmed. */

import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Page, Store } from '../../../routing/store/store.ts'
import { dropConnections, redisFor } from '../../helpers/redis.ts'
import { followFor, loggedStoreFor, takeOne, untilAnswers, watchFor } from '../../helpers/redis-store.ts'
import { until } from '../../helpers/until.ts'

t.test('says resync, under another identity and no lower revision, when all data is lost', async (t) => {
  const redis = await redisFor(t)
  const { store, prefix } = await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}` })
  for (let n = 0; n < 10; n += 1) await store.put('a', { n })
  const lease = await store.acquireLease('x', 'me', 60_000)
  const before = await store.list('')
  await redis.kill()
  await redis.start()
  await untilAnswers(store)
  t.strictSame(await takeOne(store, before), { kind: 'resync' })
  const after = await store.list('')
  t.ok(after.revision > before.revision, 'what was seen stands for nothing else')
  t.strictSame(after.documents, [])
  t.not(after.storeId, before.storeId)
  await t.rejects(store.put('a', {}, { ifRevision: before.revision }), { code: 'api_revision_conflict' })
  const { store: other } = await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}`, prefix })
  t.equal((await other.list('')).revision, after.revision, 'a process that has seen nothing sees the same')
  t.ok((await store.put('a', {})) > after.revision)
  t.strictSame(await takeOne(other, { revision: 5_000 }), { kind: 'resync' })
  t.ok((await other.list('')).revision < 5_000, 'a bare number may be anything')
  t.strictSame(await takeOne(other, { revision: 1_000, mark: 'as kept on disk' }), { kind: 'resync' })
  t.ok((await other.list('')).revision > 1_000, 'a position is a revision that was seen')
  const next = await store.acquireLease('x', 'me', 60_000)
  t.ok((next?.token ?? 0) > (lease?.token ?? 0), 'tokens grow on')
})

t.test('takes a watcher along to a revision that stands for no change', async (t) => {
  const redis = await redisFor(t)
  const { store } = await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}` })
  const place = await placeAfter(store, 1)
  const watching = watchFor(t, store, place)
  t.strictSame(await takeOne(store, { revision: 50, mark: 'of a history that is gone' }), { kind: 'resync' })
  const { revision, mark } = await store.list('')
  t.ok(revision > 50)
  await until(() => watching.events.length > 0, 'the watcher is told')
  t.strictSame(watching.events, [{ kind: 'changes', changes: [], position: { revision, mark } }])
})

t.test('notices within seconds that the data is gone beneath a connection', async (t) => {
  const redis = await redisFor(t)
  const { store, prefix } = await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}` })
  const other = await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}`, prefix })
  await store.put('a', { n: 1 })
  const page = await store.list('')
  const watching = watchFor(t, store, page)
  await until(async () => /cmd=xread/.test(String(await redis.admin.client('LIST'))), 'the watcher waits')
  await redis.admin.flushall()
  t.equal(await other.store.put('a', { n: 2 }), page.revision, 'by chance at the same revision')
  await until(() => watching.events.length > 0, 'the watcher is told')
  t.strictSame(watching.events, [{ kind: 'resync' }])
  t.equal(await watching.ending, 'ended')
})

t.test('tells a place in an older backup from one that it has lost', async (t) => {
  const redis = await redisFor(t)
  const { store } = await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}` })
  const [old, kept, lost] = [
    await placeAfter(store, 1),
    await placeAfter(store, 2),
    { revision: 0, mark: '' },
  ]
  await redis.admin.save()
  copyFileSync(join(redis.folder, 'dump.rdb'), join(redis.folder, 'backup.rdb'))
  Object.assign(lost, await placeAfter(store, 3))
  await redis.kill()
  copyFileSync(join(redis.folder, 'backup.rdb'), join(redis.folder, 'dump.rdb'))
  await redis.start()
  await untilAnswers(store)
  const next = await store.put('a', { n: 4 })
  t.ok(next > lost.revision, 'the lost revision is not taken again')
  t.strictSame(await takeOne(store, lost), { kind: 'resync' })
  t.match(await takeOne(store, old), { changes: [{ value: { n: 2 } }, { revision: next, value: { n: 4 } }] })
  t.match(await takeOne(store, kept), { changes: [{ revision: next, value: { n: 4 } }] })
  t.strictSame(
    await takeOne(store, { revision: lost.revision }),
    { kind: 'resync' },
    'nor is its bare number',
  )
})

t.test('says resync to a watcher that was away for longer than the feed reaches back', async (t) => {
  const redis = await redisFor(t)
  const { store } = await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}`, feedLimit: 20 })
  const place = await placeAfter(store, 0)
  const watching = watchFor(t, store, place)
  await dropConnections(redis)
  t.equal(await watching.ending, 'store_unreachable')
  await untilAnswers(store)
  for (let n = 1; n <= 20; n += 1) await store.put('a', { n })
  t.match(await takeOne(store, place), { kind: 'changes' }, 'exactly at the old end')
  await store.put('a', {})
  t.strictSame(await takeOne(store, place), { kind: 'resync' })
})

t.test('says resync to a watcher that is too slow, and to nobody else', async (t) => {
  const redis = await redisFor(t)
  const { store } = await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}`, feedLimit: 20 })
  const follower = followFor(t, store)
  const slow = store.watch(0, AbortSignal.timeout(20_000))[Symbol.asyncIterator]()
  for (let n = 0; n < 60; n += 1) {
    await store.put('a', { n })
    if (n % 5 === 0) await until(() => follower.table.get('a')?.n === n, 'the follower keeps up')
    if (n === 0) t.match(await slow.next(), { value: { changes: [{ value: { n: 0 } }] } })
  }
  t.strictSame(await slow.next(), { done: false, value: { kind: 'resync' } })
  t.match(await slow.next(), { done: true })
  await until(() => follower.table.get('a')?.n === 59, 'the follower has read to the end')
  t.equal(follower.resyncs(), 0)
})

/** Puts `n` and answers the position after it. */
async function placeAfter(store: Store, n: number): Promise<Pick<Page, 'revision' | 'mark'>> {
  await store.put('a', { n })
  const { revision, mark } = await store.list('')
  return { revision, mark }
}
