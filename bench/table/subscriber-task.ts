/** Some edges' tables in one process, each with a store of its own; says when each of them shows each probe. */

import { startRedisStore } from '../../routing/store/redis-store.ts'
import { type RouteTable, startRouteTable } from '../../routing/table/route-table.ts'
import { nowMicros, probeNameOf } from './probes.ts'
import { readInput, STRICT_LOG, tell } from './task-side.ts'

export interface SubscriberInput {
  readonly url: string
  readonly tables: number
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
const { url, tables: count, probes } = readInput<SubscriberInput>()
const log = STRICT_LOG
const started = new AsyncDisposableStack()
const tables: RouteTable[] = []
for (let index = 0; index < count; index += 1) {
  const store = started.use(await startRedisStore({ url }, { log }))
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
    const row = table.find(probeNameOf(probe))
    if (row === undefined) return
    // Its generation is the time at which it was written.
    visibleMicros[probe] = Math.max(visibleMicros[probe] ?? 0, nowMicros() - row.generation)
    next[index] = probe + 1
  }
}
