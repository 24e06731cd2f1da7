/** A fleet for fault tests: edge processes over one Redis, rows that lead to one origin, and a client of the store. */

import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { Agent } from 'node:https'
import { join } from 'node:path'
import type { Test } from 'tap'
import { startRedisStore } from '../../routing/store/redis-store.ts'
import type { Store } from '../../routing/store/store.ts'
import { folderFor } from '../helpers/folder.ts'
import { QUIET_LOG } from '../helpers/quiet-log.ts'
import { until } from '../helpers/until.ts'
import { ask } from './ask.ts'
import { type EdgeProcess, edgeProcessFor } from './edge-process.ts'
import { type NumberedRow, numberedOriginFor, rowsNamed, writeRows } from './numbered-rows.ts'
import { readTable } from './table-state.ts'

const KEY_BYTES = 32
const RECOVERY_MS = 20_000

export interface Fleet {
  readonly store: Store
  readonly originPort: number
  /** Those that the load asks for, under names that begin with "known". */
  readonly rows: readonly NumberedRow[]
  readonly edges: readonly EdgeProcess[]
  /** What the edges seal with. */
  readonly secretKeyFile: string
  /** One more edge, or with `dataFolder` one again. */
  readonly startEdge: (name: string, options?: { readonly dataFolder?: string }) => Promise<EdgeProcess>
}

export interface FleetOptions {
  readonly redisUrl: string
  /** Two by default. */
  readonly edges?: number
  /** 300 by default. */
  readonly rows?: number
  /** Of the test's own client. */
  readonly feedLimit?: number
  /** Of the edges. */
  readonly env?: Readonly<Record<string, string>>
}

/** All edges know all rows when it resolves. */
export async function fleetFor(t: Test, options: FleetOptions): Promise<Fleet> {
  const { redisUrl, edges: edgeCount = 2, env } = options
  const store = await storeFor(t, options)
  const originPort = await numberedOriginFor(t)
  const rows = rowsNamed('known', options.rows ?? 300)
  await writeRows(store, rows, originPort)
  const secretKeyFile = join(folderFor(t), 'secret.key')
  writeFileSync(secretKeyFile, `${randomBytes(KEY_BYTES).toString('base64')}\n`, { mode: 0o600 })
  const startEdge: Fleet['startEdge'] = (name, { dataFolder } = {}) =>
    edgeProcessFor(t, { name, redisUrl, secretKeyFile, dataFolder, env })
  const names = Array.from({ length: edgeCount }, (_, index) => `edge-${index + 1}`)
  const edges = await Promise.all(names.map((name) => startEdge(name)))
  await untilTablesFollow(edges, store)
  return { store, originPort, rows, edges, secretKeyFile, startEdge }
}

/** A client of the store in this process, as an edge has one. */
export async function storeFor(
  t: Test,
  { redisUrl, feedLimit }: Pick<FleetOptions, 'redisUrl' | 'feedLimit'>,
): Promise<Store> {
  const limit = feedLimit === undefined ? {} : { feedLimit }
  const store = await startRedisStore({ url: redisUrl, ...limit }, { log: QUIET_LOG })
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}

/** Waits until every edge has what the store has now, and knows it. */
export async function untilTablesFollow(
  edges: readonly EdgeProcess[],
  store: Pick<Store, 'list'>,
  deadlineMs = RECOVERY_MS,
): Promise<void> {
  const { revision } = await store.list('', { limit: 1 })
  for (const edge of edges) {
    const follows = async () => {
      const table = await readTable(edge)
      return table.revision >= revision && table.ageSeconds === 0
    }
    await until(follows, `the table of ${edge.name} follows the store`, deadlineMs)
  }
}

/** Whatever an edge answers otherwise than `expected` says: a number, or 404 where there is none. */
export async function findDifferences(
  edge: EdgeProcess,
  hostnames: Iterable<string>,
  expected: ReadonlyMap<string, number>,
): Promise<string[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  const compare = async (hostname: string) => {
    const number = expected.get(hostname)
    const { status, body } = await ask(edge, { hostname, agent })
    const isSame = number === undefined ? status === 404 : status === 200 && body === `${hostname} ${number}`
    return isSame
      ? []
      : [`${edge.name} ${hostname}: not ${number ?? 404} but ${status} ${body.slice(0, 100)}`]
  }
  const found = await Promise.all([...hostnames].map(compare))
  agent.destroy()
  return found.flat()
}
