/** The store in a cluster: found, promised, and followed where its slot goes. */

import t, { type Test } from 'tap'
import { testCommits } from '../../contracts/store-commits.ts'
import { testFeed } from '../../contracts/store-feed.ts'
import { testMarks } from '../../contracts/store-marks.ts'
import { findFreePort } from '../../helpers/free-port.ts'
import { clusterFor } from '../../helpers/redis.ts'
import { followFor, loggedStoreFor, writeFor } from '../../helpers/redis-store.ts'
import { until } from '../../helpers/until.ts'

const TIMEOUT_MS = 1_000

t.test('keeps the promises of a store in a cluster, and goes where its slot goes', async (t) => {
  const cluster = await clusterFor(t)
  await t.test('keeps the promises of a store', async (t) => {
    const storeFor = async (t: Test, settings = {}) =>
      (await loggedStoreFor(t, { ...settings, url: cluster.url })).store
    await t.test('commits', (t) => testCommits(t, storeFor))
    await t.test('feed', (t) => testFeed(t, storeFor))
    await t.test('marks', (t) => testMarks(t, storeFor))
  })
  const settings = { url: cluster.url, prefix: 'edge', commandTimeoutMs: TIMEOUT_MS }
  const [writer, reader] = [await loggedStoreFor(t, settings), await loggedStoreFor(t, settings)]
  const follower = followFor(t, reader.store)
  const writing = writeFor(t, writer.store)
  await until(() => writing.acknowledged.length > 50, 'writes flow')
  const owner = await cluster.move('{edge}:docs')
  const before = writing.acknowledged.length
  await until(() => writing.acknowledged.length > before + 50, 'writes flow again')
  await writing.stop()
  await writer.store.put('last', { n: -1 })
  await until(() => follower.table.get('last')?.n === -1, 'the follower has read to the end')
  t.ok(writing.isAscending())
  t.ok(follower.isAscending())
  t.equal(follower.resyncs(), 0, 'the history moved along')
  t.equal(writer.lines.at(-1)?.server, `127.0.0.1:${owner.port}`)
  const kept = new Set((await writer.store.list('', { limit: 50_000 })).documents.map(({ value }) => value.n))
  t.strictSame(
    writing.acknowledged.filter((n) => !kept.has(n)),
    [],
    'every acknowledged write is there',
  )
})

t.test('finds a cluster through any node that lives, and says when there is none', async (t) => {
  const { nodes } = await clusterFor(t)
  const dead = await findFreePort()
  const socketCount = () => process.getActiveResourcesInfo().filter((name) => /TCPSocket/.test(name)).length
  const before = socketCount()
  const url = `redis+cluster://127.0.0.1:${dead},127.0.0.1:${nodes[1]?.port}`
  const { store } = await loggedStoreFor(t, { url })
  t.equal(await store.put('a', {}), 1)
  const away = await loggedStoreFor(t, { url: `redis+sentinel://127.0.0.1:${dead}/main` })
  await t.rejects(away.store.put('a', {}), { code: 'store_unreachable' })
  t.match(away.lines, [{ level: 'warn', message: 'Redis is away', reason: /no master is known/ }])
  t.ok(socketCount() > before)
  await store[Symbol.asyncDispose]()
  await away.store[Symbol.asyncDispose]()
  await until(() => socketCount() <= before, 'all connections are closed')
})
