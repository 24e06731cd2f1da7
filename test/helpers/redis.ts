/** Real Redis servers for tests, each a process with its own free port and folder, ended with the test. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Redis, type RedisOptions } from 'ioredis'
import type { Test } from 'tap'
import { folderFor } from './folder.ts'
import { findFreePort } from './free-port.ts'
import { until } from './until.ts'

/** Nothing is kept, nothing is waited for: a test that wants otherwise says so. */
const FAST = ['--save', '', '--repl-diskless-sync-delay', '0', '--daemonize', 'no']
const RETRY_MS = 20

/** A test that runs out of time is torn down by nobody. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export interface RedisProcess {
  readonly port: number
  readonly folder: string
  /** For the test's own commands; waits while the server is away. */
  readonly admin: Redis
  readonly start: () => Promise<void>
  readonly signal: (signal: NodeJS.Signals) => void
  /** Ends it at once and waits for its end. */
  readonly kill: () => Promise<void>
}

export interface RedisProcessOptions {
  /** As on the command line, without the port. */
  readonly settings?: readonly string[]
  /** How `admin` logs in. */
  readonly login?: Pick<RedisOptions, 'host' | 'username' | 'password' | 'tls'>
  /** Instead of a free one. */
  readonly port?: number
  /** Instead of a plain server's. */
  readonly command?: readonly string[]
}

export async function redisFor(t: Test, options: RedisProcessOptions = {}): Promise<RedisProcess> {
  const folder = folderFor(t)
  const port = options.port ?? (await findFreePort())
  const { settings = [], command = ['--port', String(port), '--bind', '127.0.0.1', ...FAST] } = options
  const admin = new Redis({
    port,
    lazyConnect: true,
    maxRetriesPerRequest: null,
    disconnectTimeout: 0,
    retryStrategy: () => RETRY_MS,
    ...options.login,
  })
  admin.on('error', () => {})
  const held: { child?: ChildProcess } = {}
  const kill = async () => {
    const { child } = held
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  const start = async () => {
    const child = spawn('redis-server', [...command, '--dir', folder, ...settings], { stdio: 'ignore' })
    held.child = child
    running.add(child)
    child.once('exit', () => running.delete(child))
    await admin.ping()
  }
  t.teardown(async () => {
    admin.disconnect()
    await kill()
  })
  await start()
  return { port, folder, admin, start, kill, signal: (signal) => void held.child?.kill(signal) }
}

/** Closes all connections but the test's own. */
export async function dropConnections({ admin }: RedisProcess): Promise<void> {
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
}

/** One replica follows the master; three Sentinels watch it under the name `main`. */
export interface RedisSentinels {
  readonly url: string
  readonly master: RedisProcess
  readonly replica: RedisProcess
  /** Waits until all Sentinels name the replica as master. */
  readonly untilSwitched: () => Promise<void>
  /** Has all Sentinels name another master, of which they tell nobody; the one before goes on as it is. */
  readonly point: (to: RedisProcess) => Promise<void>
}

const DOWN_AFTER_MS = 500

export async function sentinelsFor(t: Test): Promise<RedisSentinels> {
  const master = await redisFor(t)
  const replica = await redisFor(t, { settings: ['--replicaof', '127.0.0.1', String(master.port)] })
  await until(async () => /state=online/.test(await master.admin.info('replication')), 'the replica follows')
  const sentinels = await Promise.all([0, 1, 2].map(() => sentinelFor(t, master.port)))
  await Promise.all(sentinels.map((sentinel) => untilQuorum(sentinel)))
  const untilSwitched = () =>
    until(async () => {
      const found = await Promise.all(
        sentinels.map(({ admin }) => admin.call('SENTINEL', 'get-master-addr-by-name', 'main')),
      )
      return found.every((address) => Number((address as string[])[1]) === replica.port)
    }, 'all Sentinels name the new master')
  const point = async ({ port }: RedisProcess) => {
    for (const { admin } of sentinels) {
      await admin.call('SENTINEL', 'REMOVE', 'main')
      await admin.call('SENTINEL', 'MONITOR', 'main', '127.0.0.1', port, 2)
    }
  }
  const hosts = sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')
  return { url: `redis+sentinel://${hosts}/main`, master, replica, untilSwitched, point }
}

async function sentinelFor(t: Test, masterPort: number): Promise<RedisProcess> {
  const port = await findFreePort()
  const file = join(folderFor(t), 'sentinel.conf')
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `sentinel monitor main 127.0.0.1 ${masterPort} 2`,
    `sentinel down-after-milliseconds main ${DOWN_AFTER_MS}`,
    'sentinel failover-timeout main 3000',
  ]
  writeFileSync(file, lines.join('\n'))
  return redisFor(t, { port, command: [file, '--sentinel'] })
}

/** Sentinels find each other through the master, every two seconds. */
async function untilQuorum({ admin }: RedisProcess): Promise<void> {
  const knowsAll = async () => {
    const state = (await admin.call('SENTINEL', 'master', 'main')) as string[]
    const count = (name: string) => state[state.indexOf(name) + 1]
    return count('num-other-sentinels') === '2' && count('num-slaves') === '1'
  }
  await until(knowsAll, 'the Sentinels know each other and the replica')
}

export interface RedisCluster {
  readonly url: string
  readonly nodes: readonly RedisProcess[]
  /** The node that has `key`'s slot. */
  readonly ownerOf: (key: string) => Promise<RedisProcess>
  /** Moves the slot of `key`, and what is in it, to another node, which it answers. */
  readonly move: (key: string) => Promise<RedisProcess>
}

const SLOTS = 16_384

/** Three masters with a third of the slots each. */
export async function clusterFor(t: Test): Promise<RedisCluster> {
  const nodes = await Promise.all([0, 1, 2].map(() => clusterNodeFor(t)))
  const [first] = nodes
  if (first === undefined) throw new Error('no node')
  await Promise.all(
    nodes.map(({ admin }, index) => {
      const [from, to] = [index, index + 1].map((part) => Math.floor((SLOTS * part) / nodes.length))
      return admin.call('CLUSTER', 'ADDSLOTSRANGE', from ?? 0, (to ?? 0) - 1)
    }),
  )
  for (const { port, busPort } of nodes.slice(1)) {
    await first.admin.call('CLUSTER', 'MEET', '127.0.0.1', port, busPort)
  }
  await Promise.all(
    nodes.map(({ admin }) =>
      until(
        async () => /cluster_state:ok/.test(String(await admin.call('CLUSTER', 'INFO'))),
        'the cluster is up',
      ),
    ),
  )
  const url = `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`
  return { url, nodes, ownerOf: (key) => ownerOf(nodes, key), move: (key) => moveSlot(nodes, key) }
}

async function clusterNodeFor(t: Test): Promise<RedisProcess & { readonly busPort: number }> {
  // The bus port is the server's plus 10,000 unless it is named.
  const [port, busPort] = [await findFreePort(), await findFreePort()]
  const settings = ['--cluster-enabled', 'yes', '--cluster-port', String(busPort)]
  const node = await redisFor(t, { port, settings: [...settings, '--cluster-node-timeout', '2000'] })
  return { ...node, busPort }
}

async function ownerOf(nodes: readonly RedisProcess[], key: string): Promise<RedisProcess> {
  for (const node of nodes) {
    const isHere = await node.admin.exists(key).then(
      () => true,
      () => false,
    )
    if (isHere) return node
  }
  throw new Error(`no node has the slot of ${key}`)
}

async function moveSlot(nodes: readonly RedisProcess[], key: string): Promise<RedisProcess> {
  const from = await ownerOf(nodes, key)
  const to = nodes.find((node) => node !== from) ?? from
  const slot = Number(await from.admin.call('CLUSTER', 'KEYSLOT', key))
  const [fromId, toId] = await Promise.all([from, to].map(({ admin }) => admin.call('CLUSTER', 'MYID')))
  await to.admin.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', String(fromId))
  await from.admin.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', String(toId))
  const keys = (await from.admin.call('CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[]
  await from.admin.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5_000, 'KEYS', ...keys)
  for (const { admin } of [to, from, ...nodes])
    await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', String(toId))
  return to
}
