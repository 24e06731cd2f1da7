/** One edge's table, loaded from Redis: how long that took is the parent's to measure; memory, look-ups, API writes. */

import { startRedisStore } from '../../routing/store/redis-store.ts'
import { startRouteTable } from '../../routing/table/route-table.ts'
import { measureWrites } from './api-writes.ts'
import { measureLookups } from './lookups.ts'
import { hostnameOf } from './rows.ts'
import { awaitWord, type Memory, readInput, readMemory, STRICT_LOG, tell } from './task-side.ts'

export interface EdgeInput {
  readonly url: string
  readonly routes: number
  readonly rounds: number
  readonly writeSeconds: number
}

export interface EdgeLoaded {
  readonly rows: number
}

export interface EdgeResults {
  /** With no row in use. */
  readonly bare: Memory
  /** With as many rows in use as are kept as objects. */
  readonly used: Memory
  readonly lookupNs: number
  /** Milliseconds of each write. */
  readonly writesMs: readonly number[]
}

/** More than are kept as objects. */
const USED = 200_000

const { url, routes, rounds, writeSeconds } = readInput<EdgeInput>()
const log = STRICT_LOG
await using store = await startRedisStore({ url }, { log })
await using table = await startRouteTable({ store, log })
tell({ rows: table.size } satisfies EdgeLoaded)
await awaitWord()
const bare = await readMemory()
const lookupNs = await measureLookups((name) => table.find(name)?.generation ?? 0, { routes, rounds })
for (let index = 0; index < Math.min(routes, USED); index += 1) table.find(hostnameOf(index))
const used = await readMemory()
const writesMs = await measureWrites({ store, table, log }, writeSeconds)
tell({ bare, used, lookupNs, writesMs } satisfies EdgeResults)
await awaitWord()
