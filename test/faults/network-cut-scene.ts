/**
 * What network-cut.test.ts runs in a network namespace of its own: edges, origin and load on its loopback; Redis in a
 * second namespace at the other end of a cable, which is cut and mended. Both namespaces end with their processes.
 */

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readlinkSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { folderFor } from '../helpers/folder.ts'
import { lostTimeFor } from '../helpers/lost-time.ts'
import { until } from '../helpers/until.ts'
import { apiTokenFor } from './api-token.ts'
import { ask } from './ask.ts'
import { faultTimeFor } from './fault-time.ts'
import { startFeedReader } from './feed-reader.ts'
import { findDifferences, fleetFor, storeFor, untilTablesFollow } from './fleet.ts'
import { DOMAIN, rowsNamed, writeRows } from './numbered-rows.ts'
import { readReadiness, readTable } from './table-state.ts'
import { startTraffic } from './traffic.ts'

const EDGES_ADDRESS = '10.77.0.1'
const REDIS_ADDRESS = '10.77.0.2'
const REDIS_PORT = 6379
const WRITE_LIMIT_MS = 3_000
const RECOVERY_MS = 10_000

const faultMs = faultTimeFor(t, { seconds: 8 })

const WRITER = fileURLToPath(new URL('network-cut-writer.ts', import.meta.url))

interface FarRedis {
  readonly url: string
  readonly cut: () => Promise<unknown>
  readonly mend: () => Promise<unknown>
  /** Writes rows on the far side of the cable. */
  readonly write: (originPort: number, name: string, count: number) => Promise<unknown>
}

const execute = promisify(execFile)

async function run(command: string, ...args: string[]): Promise<string> {
  return (await execute(command, args)).stdout
}

function namespaceOf(pid: number | 'self'): string {
  return readlinkSync(`/proc/${pid}/ns/net`)
}

async function farRedisFor(t: Test): Promise<FarRedis> {
  const settings = ['--port', String(REDIS_PORT), '--bind', '0.0.0.0', '--protected-mode', 'no', '--save', '']
  const child = spawn('unshare', ['--net', '--', 'redis-server', ...settings, '--dir', folderFor(t)], {
    stdio: 'ignore',
  })
  t.teardown(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  const pid = child.pid ?? 0
  await until(() => namespaceOf(pid) !== namespaceOf('self'), 'Redis has a network of its own')
  const runThere = (...command: string[]) => run('nsenter', '--net', '--target', String(pid), ...command)
  const there = (...args: string[]) => runThere('ip', ...args)
  await run('ip', 'link', 'add', 'near', 'type', 'veth', 'peer', 'name', 'far')
  await run('ip', 'link', 'set', 'far', 'netns', String(pid))
  await run('ip', 'address', 'add', `${EDGES_ADDRESS}/30`, 'dev', 'near')
  await run('ip', 'link', 'set', 'near', 'up')
  await there('link', 'set', 'lo', 'up')
  await there('address', 'add', `${REDIS_ADDRESS}/30`, 'dev', 'far')
  await there('link', 'set', 'far', 'up')
  // Without this a cut cable would soon be told as "no route to host".
  const [, address = ''] = /link\/ether (\S+)/.exec(await there('link', 'show', 'far')) ?? []
  await run('ip', 'neighbour', 'replace', REDIS_ADDRESS, 'lladdr', address, 'dev', 'near', 'nud', 'permanent')
  return {
    url: `redis://${REDIS_ADDRESS}:${REDIS_PORT}`,
    cut: () => there('link', 'set', 'far', 'down'),
    mend: () => there('link', 'set', 'far', 'up'),
    write: (originPort, name, count) => {
      const url = `redis://127.0.0.1:${REDIS_PORT}`
      return runThere(process.execPath, WRITER, url, String(originPort), name, String(count))
    },
  }
}

t.test('edges serve while packets to Redis vanish, and follow it again afterwards', async (t) => {
  await run('ip', 'link', 'set', 'lo', 'up')
  const redis = await farRedisFor(t)
  const far = await storeFor(t, { redisUrl: redis.url })
  await until(
    () =>
      far.list('').then(
        () => true,
        () => false,
      ),
    'Redis answers',
  )
  const fleet = await fleetFor(t, { redisUrl: redis.url })
  const { edges, store, originPort } = fleet
  const token = await apiTokenFor(fleet)
  const reader = await startFeedReader(await storeFor(t, { redisUrl: redis.url }))
  t.teardown(() => reader.stop())
  const traffic = startTraffic(t, fleet)
  const before = rowsNamed('before', 20)
  await writeRows(store, before, originPort)

  await redis.cut()
  const lostMs = lostTimeFor(t)
  await traffic.goesOnFor(faultMs / 2, 'first half of the cut')
  const during = rowsNamed('during', 20)
  await redis.write(originPort, 'during', during.length)
  for (const edge of edges) {
    const askedAt = performance.now()
    const { status, body } = await ask(edge, {
      hostname: `admin.${DOMAIN}`,
      method: 'PUT',
      path: `/v1/pools/cut`,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ cpuMillis: 1_000, memoryBytes: 1_000, diskBytes: 1_000 }),
    })
    t.equal(status, 503, 'a write is refused')
    t.match(body, /store_unreachable/, 'because of the store')
    const tookMs = Math.round(performance.now() - askedAt)
    t.ok(tookMs < WRITE_LIMIT_MS + lostMs(), `within ${WRITE_LIMIT_MS} ms (${tookMs})`)
  }
  await traffic.goesOnFor(faultMs / 2, 'second half of the cut')
  for (const edge of edges) {
    const { ageSeconds, rows } = await readTable(edge)
    t.ok(ageSeconds > 0, `${edge.name} tells its age, ${ageSeconds} s`)
    t.ok(rows >= fleet.rows.length, `${edge.name} has its rows`)
    t.equal((await readReadiness(edge)).status, 200, `${edge.name} stays ready`)
  }

  await redis.mend()
  const mendedAt = performance.now()
  const isFresh = async () => {
    const tables = await Promise.all(edges.map((edge) => readTable(edge)))
    return tables.every(({ ageSeconds }) => ageSeconds === 0)
  }
  await until(isFresh, 'all edges follow again', RECOVERY_MS)
  t.comment(`fresh again ${Math.round(performance.now() - mendedAt)} ms after the cable was mended`)
  const after = rowsNamed('after', 20)
  await until(
    () =>
      writeRows(store, after, originPort).then(
        () => true,
        () => false,
      ),
    'writes succeed',
  )
  await untilTablesFollow(edges, store)
  const written = [...before, ...during, ...after]
  const expected = new Map(written.map(({ hostname, number }) => [hostname, number]))
  for (const edge of edges) t.same(await findDifferences(edge, expected.keys(), expected), [])
  const { revision } = await store.list('', { limit: 1 })
  await until(() => reader.position().revision >= revision, 'the reader has everything')
  const read = reader.changes.filter(({ key }) => key.startsWith('route/'))
  t.equal(new Set(read.map(({ key }) => key)).size, written.length, 'no reader missed a change')
  t.equal(read.length, written.length, 'or got one twice')
  t.equal(reader.resyncs(), 0, 'or had to list again')
  await traffic.finish()
})
