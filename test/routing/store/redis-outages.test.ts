/** What becomes of the store in Redis when the server is away, hangs, loses data or drops its connections. */

import t from 'tap'
import { findFreePort } from '../../helpers/free-port.ts'
import { dropConnections, redisFor } from '../../helpers/redis.ts'
import { followFor, loggedStoreFor, takeOne, untilAnswers, watchFor } from '../../helpers/redis-store.ts'
import { until } from '../../helpers/until.ts'

const UNREACHABLE = { code: 'store_unreachable', fault: { status: 503, retryable: true } }
/** No command on a loaded machine takes so long. */
const TIMEOUT_MS = 1_500
/** Beyond the time limit, on a machine that does other things as well. */
const SLACK_MS = 5_000

t.test('starts without Redis, refuses at once, and works when it is there', async (t) => {
  const port = await findFreePort()
  const { store, lines } = await loggedStoreFor(t, { url: `redis://127.0.0.1:${port}` })
  const started = performance.now()
  await t.rejects(store.get('a'), UNREACHABLE)
  await t.rejects(store.put('a', {}), UNREACHABLE)
  await t.rejects(store.list(''), UNREACHABLE)
  await t.rejects(store.acquireLease('a', 'b', 1_000), UNREACHABLE)
  t.equal(await watchFor(t, store, { revision: 0 }).ending, 'store_unreachable')
  t.ok(performance.now() - started < TIMEOUT_MS, 'none of them waits')
  await redisFor(t, { port })
  await untilAnswers(store)
  t.equal(await store.put('a', {}), 1)
  t.match(
    lines.map(({ level, message, server }) => [level, message, server]),
    [
      ['warn', 'Redis is away', `127.0.0.1:${port}`],
      ['info', 'connected to Redis', `127.0.0.1:${port}`],
    ],
  )
})

t.test('fails in time while Redis hangs, and comes back', async (t) => {
  const redis = await redisFor(t)
  const url = `redis://127.0.0.1:${redis.port}`
  const { store, lines } = await loggedStoreFor(t, { url, commandTimeoutMs: TIMEOUT_MS })
  const follower = followFor(t, store)
  await store.put('a', { n: 1 })
  await until(() => follower.numbers().length === 1, 'the first change is told')
  const watching = watchFor(t, store, { revision: 1 })
  redis.signal('SIGSTOP')
  t.teardown(() => redis.signal('SIGCONT'))
  const stopped = performance.now()
  const calls: Promise<unknown>[] = [
    store.get('a'),
    store.put('a', { n: 2 }),
    store.list(''),
    store.findLease('a'),
  ]
  for (const call of calls) await t.rejects(call, UNREACHABLE)
  t.ok(performance.now() - stopped < TIMEOUT_MS + SLACK_MS, 'in time')
  t.equal(await watching.ending, 'store_unreachable')
  t.ok(performance.now() - stopped < 2 * TIMEOUT_MS + SLACK_MS, 'no watcher waits for ever')
  const again = performance.now()
  await t.rejects(store.get('a'), UNREACHABLE)
  t.ok(performance.now() - again < TIMEOUT_MS - 100, 'the next call does not wait')
  redis.signal('SIGCONT')
  await untilAnswers(store)
  // What timed out may have been carried out.
  await store.put('a', { n: 3 })
  await until(() => follower.numbers().at(-1) === 3, 'the follower goes on')
  t.equal(follower.resyncs(), 0)
  t.strictSame(
    lines.map(({ level }) => level),
    ['info', 'warn', 'info'],
    'the loss and the return are said once',
  )
})

t.test('loses no acknowledged write and no place when Redis is killed and keeps its data', async (t) => {
  const settings = ['--appendonly', 'yes', '--appendfsync', 'always']
  const redis = await redisFor(t, { settings })
  const { store } = await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}` })
  const follower = followFor(t, store)
  const lease = await store.acquireLease('a', 'me', 60_000)
  const acknowledged: number[] = []
  for (let round = 0; round < 3; round += 1) {
    const writing = Array.from({ length: 200 }, async (_, index) => {
      const n = round * 200 + index
      await store.put(`k/${n}`, { n }).then(
        () => acknowledged.push(n),
        () => {},
      )
    })
    if (round > 0) await redis.kill()
    await Promise.all(writing)
    if (round > 0) await redis.start()
    await untilAnswers(store)
  }
  await store.put('last', { n: -1 })
  await until(() => follower.numbers().at(-1) === -1, 'the follower has read to the end')
  const kept = new Set((await store.list('', { limit: 5_000 })).documents.map(({ value }) => value.n))
  const told = new Set(follower.numbers())
  t.ok(acknowledged.length >= 200)
  t.strictSame(
    acknowledged.filter((n) => !kept.has(n) || !told.has(n)),
    [],
  )
  t.equal(follower.resyncs(), 0)
  t.ok(follower.isAscending())
  t.match(await store.findLease('a'), { token: lease?.token })
})

t.test('tells a follower everything once, however often its connections are dropped', async (t) => {
  const redis = await redisFor(t)
  const { store } = await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}` })
  const follower = followFor(t, store)
  const count = 300
  for (let n = 0; n < count; n += 1) {
    while (
      !(await store.put('a', { n }).then(
        () => true,
        () => false,
      ))
    )
      await untilAnswers(store)
    if (n % 60 === 30) await dropConnections(redis)
  }
  await until(() => follower.numbers().at(-1) === count - 1, 'the follower has read to the end')
  t.strictSame(
    [...new Set(follower.numbers())],
    Array.from({ length: count }, (_, n) => n),
  )
  t.equal(follower.resyncs(), 0)
  t.ok(follower.isAscending())
  t.ok(follower.interruptions() > 0)
})

t.test('ends all calls and watches, and leaves nothing behind, when it is disposed', async (t) => {
  const redis = await redisFor(t)
  const countOf = (kind: string) => process.getActiveResourcesInfo().filter((name) => name === kind).length
  const before: Record<string, number> = {
    TCPSocketWrap: countOf('TCPSocketWrap'),
    Timeout: countOf('Timeout'),
  }
  const url = `redis://127.0.0.1:${redis.port}`
  const { store } = await loggedStoreFor(t, { url, commandTimeoutMs: TIMEOUT_MS })
  const away = await loggedStoreFor(t, { url: `redis://127.0.0.1:${await findFreePort()}` })
  await store.put('a', {})
  const watching = watchFor(t, store, { revision: 0 })
  await until(() => watching.events.length === 1, 'it watches')
  redis.signal('SIGSTOP')
  t.teardown(() => redis.signal('SIGCONT'))
  const pending = store.get('a')
  const started = performance.now()
  await Promise.all([store[Symbol.asyncDispose](), t.rejects(pending, { code: 'store_closed' })])
  await away.store[Symbol.asyncDispose]()
  t.ok(performance.now() - started < TIMEOUT_MS + SLACK_MS)
  t.equal(await watching.ending, 'ended')
  for (const kind of ['TCPSocketWrap', 'Timeout']) {
    await until(() => countOf(kind) <= (before[kind] ?? 0), `each ${kind} is gone`)
  }
})

t.test('leaves a server that has become a replica, until it is a master again', async (t) => {
  const [redis, master] = [await redisFor(t), await redisFor(t)]
  const { store, lines } = await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}` })
  await store.put('a', { n: 1 })
  const place = await store.list('')
  await redis.admin.config('SET', 'replica-read-only', 'yes')
  await redis.admin.replicaof('127.0.0.1', master.port)
  await t.rejects(store.put('a', { n: 2 }), { code: 'store_refused', detail: 'Redis answered READONLY.' })
  await until(() => lines.length >= 2, 'the loss is logged')
  await t.rejects(store.get('a'), UNREACHABLE)
  t.match(lines[1], { level: 'warn' })
  const late = await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}` })
  t.match(late.lines, [{ level: 'warn', reason: 'it is a replica' }])
  await redis.admin.replicaof('NO', 'ONE')
  await untilAnswers(store)
  t.ok((await store.list('')).revision >= place.revision)
})

t.test('waits for changes only while somebody watches', async (t) => {
  const redis = await redisFor(t)
  const { store } = await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}` })
  const isWaiting = async () => / flags=b /.test(String(await redis.admin.client('LIST')))
  const stop = new AbortController()
  const iterator = store.watch(0, stop.signal)[Symbol.asyncIterator]()
  const next = iterator.next()
  await until(isWaiting, 'it waits')
  stop.abort()
  t.match(await next, { done: true })
  await until(async () => !(await isWaiting()), 'it waits no more')
  await until(async () => !(await isWaiting()), 'nor a second later')
  await store.put('a', { n: 1 })
  t.match(await takeOne(store, { revision: 0 }), { changes: [{ value: { n: 1 } }] })
})

t.test('keeps leases by the clock of the server', async (t) => {
  const redis = await redisFor(t)
  const { store } = await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}` })
  const asked = Date.now()
  const first = await store.acquireLease('a', 'me', 1_500)
  t.ok(first && first.expiresAt >= asked + 1_500 && first.expiresAt <= Date.now() + 1_501)
  t.equal(await store.acquireLease('a', 'you', 1_500), undefined)
  await until(async () => (await store.findLease('a')) === undefined, 'it runs out')
  t.match(await store.acquireLease('a', 'you', 1_500), { owner: 'you', token: 2 })
})
