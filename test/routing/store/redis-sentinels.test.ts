/** The store behind Sentinels: found, promised, and followed when the master changes. */

import t from 'tap'
import type { Store } from '../../../routing/store/store.ts'
import { testCommits } from '../../contracts/store-commits.ts'
import { findFreePort } from '../../helpers/free-port.ts'
import { sentinelsFor } from '../../helpers/redis.ts'
import { followFor, loggedStoreFor, writeFor } from '../../helpers/redis-store.ts'
import { until } from '../../helpers/until.ts'

const TIMEOUT_MS = 1_000

t.test(
  'follows a failover of Sentinels under writes; no revision falls, nothing that was kept is missed',
  async (t) => {
    const { url, master, replica, untilSwitched } = await sentinelsFor(t)
    await t.test('keeps the promises of a store', async (t) => {
      await testCommits(t, async (t, settings) => (await loggedStoreFor(t, { ...settings, url })).store)
    })
    const settings = { url, prefix: 'edge', commandTimeoutMs: TIMEOUT_MS }
    const [writer, reader] = [await loggedStoreFor(t, settings), await loggedStoreFor(t, settings)]
    const follower = followFor(t, reader.store)
    const writing = writeFor(t, writer.store)
    await until(() => writing.acknowledged.length > 200, 'writes flow')
    // What is written from here on, the replica never gets: it follows a port where nobody listens.
    await replica.admin.replicaof('127.0.0.1', await findFreePort())
    const lost = writing.acknowledged.length + 100
    await until(() => follower.numbers().includes(lost), 'the follower is told what will be lost')
    await master.kill()
    await untilSwitched()
    const before = writing.acknowledged.length
    await until(() => writing.acknowledged.length > before + 200, 'writes flow again', 20_000)
    await writing.stop()
    await writer.store.put('last', { n: -1 })
    await until(() => follower.table.get('last')?.n === -1, 'the follower has read to the end')
    t.ok(writing.isAscending(), 'no revision falls for the writer')
    t.ok(follower.isAscending(), 'nor for the follower')
    const { documents } = await writer.store.list('', { limit: 50_000 })
    t.strictSame(
      Object.fromEntries(follower.table),
      Object.fromEntries(documents.map(({ key, value }) => [key, value])),
      'the follower has exactly what the new master has',
    )
    t.equal(follower.resyncs(), 1)
    t.notOk(
      documents.some(({ value }) => value.n === lost),
      'writes were lost indeed',
    )
    t.strictSame(
      writer.lines.map(({ message, server }) => [message, server]),
      [
        ['connected to Redis', `127.0.0.1:${master.port}`],
        ['Redis is away', `127.0.0.1:${master.port}`],
        ['connected to Redis', `127.0.0.1:${replica.port}`],
      ],
    )
  },
)

t.test('leaves a master that lives on when Sentinels have chosen another', async (t) => {
  const { url, master, replica, untilSwitched } = await sentinelsFor(t)
  const { store } = await loggedStoreFor(t, { url, commandTimeoutMs: TIMEOUT_MS })
  await store.put('a', {})
  // A master that hangs is replaced; when it wakes up it still takes itself for the master.
  master.signal('SIGSTOP')
  await untilSwitched()
  await untilPut(store)
  const { revision } = await store.list('')
  master.signal('SIGCONT')
  await store.put('b', {})
  t.equal((await store.list('')).revision, revision + 1)
  t.match(await replica.admin.role(), ['master'])
})

t.test('goes where Sentinels point, though the master before still answers', async (t) => {
  const { url, master, replica, point } = await sentinelsFor(t)
  const { store, prefix } = await loggedStoreFor(t, { url })
  await store.put('a', { n: 1 })
  const follower = followFor(t, store)
  await until(() => follower.table.size === 1, 'the follower has listed')
  await replica.admin.replicaof('NO', 'ONE')
  await point(replica)
  const isThere = async () => {
    await store.put('a', { n: 2 }).catch(() => {})
    return /"n":2/.test(String(await replica.admin.hget(`{${prefix}}:docs`, 'a')))
  }
  await until(isThere, 'writes go to the new master')
  await store.put('b', { n: 3 })
  await until(() => follower.table.get('b')?.n === 3, 'so does the waiting connection')
  t.notOk(await master.admin.hexists(`{${prefix}}:docs`, 'b'))
})

async function untilPut(store: Store): Promise<void> {
  const put = () =>
    store.put('a', {}).then(
      () => true,
      () => false,
    )
  await until(put, 'a write is taken', 20_000)
}
