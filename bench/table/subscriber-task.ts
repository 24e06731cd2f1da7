/** Some edges' tables in one process, over one store or each over its own; says when each of them shows each probe. */

import { startRedisStore } from '../../routing/store/redis-store.ts'
import { type RouteTable, startRouteTable } from '../../routing/table/route-table.ts'
import { nowMicros, probeNameOf } from './probes.ts'
import { readInput, STRICT_LOG, tell } from './task-side.ts'

export interface SubscriberInput {
  readonly url: string
  readonly tables: number
  /** Of the probes. */
  readonly series: string
  /** Whether the tables share one connection to Redis, as all watchers of one process may. */
  readonly areSharing: boolean
  readonly probes: number
}

/** First when all tables are loaded, then when they have shown all probes. */
export interface SubscriberWord {
  /** Of all tables together. */
  readonly rows: number
  /** For each probe, until the last table of this process showed it: microseconds since before it was written. */
  readonly visibleMicros: readonly number[]
}

const POLL_MS = 1
const { url, tables: count, series, areSharing, probes } = readInput<SubscriberInput>()
const log = STRICT_LOG
const started = new AsyncDisposableStack()
const tables: RouteTable[] = []
const startStore = async () => started.use(await startRedisStore({ url }, { log }))
const shared = areSharing ? await startStore() : undefined
for (let index = 0; index < count; index += 1) {
  const store = shared ?? (await startStore())
  tables.push(started.use(await startRouteTable({ store, log })))
}
tell({ rows: tables.reduce((sum, { size }) => sum + size, 0), visibleMicros: [] } satisfies SubscriberWord)

/** Changes come in order, so each table waits for one probe only. */
const next = tables.map(() => 0)
const visibleMicros = new Array<number>(probes).fill(0)
const timer = setInterval(() => {
  for (const [index, table] of tables.entries()) look(table, index)
  if (next.some((probe) => probe < probes)) return
  clearInterval(timer)
  tell({ rows: 0, visibleMicros } satisfies SubscriberWord)
}, POLL_MS)

function look(table: RouteTable, index: number): void {
  for (let probe = next[index] ?? 0; probe < probes; probe += 1) {
    const row = table.find(probeNameOf(series, probe))
    if (row === undefined) return
    // Its generation is the time at which it was written.
    visibleMicros[probe] = Math.max(visibleMicros[probe] ?? 0, nowMicros() - row.generation)
    next[index] = probe + 1
  }
}
