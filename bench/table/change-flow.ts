/** Changes at a steady rate into a store to which tables are subscribed, and how soon they show them. */

import { setTimeout as delay } from 'node:timers/promises'
import type { Store } from '../../routing/store/store.ts'
import { BenchError } from '../frame/benchmark.ts'
import { LOAD_CORE, PROXY_CORE } from '../frame/cores.ts'
import { probeNameOf, probeOf } from './probes.ts'
import { hostnameOf, rowOf } from './rows.ts'
import type { SubscriberInput, SubscriberWord } from './subscriber-task.ts'
import { startTask, type Task } from './task.ts'

export interface FlowSettings {
  readonly url: string
  readonly routes: number
  readonly seconds: number
  /** Of each process's tables: one connection to Redis together, or one each. */
  readonly connections: 'shared' | 'own'
  readonly signal: AbortSignal
  say(line: string): void
}

export interface FlowResults {
  /** Of each probe, until the last of all tables showed it. */
  readonly visibleMs: readonly number[]
  /** What was reached; a machine that is busy with other things may take fewer. */
  readonly changesPerSecond: number
}

const RATE = 2_000
/** One change of so many is a probe. */
const PROBE_EVERY = 20
const TICK_MS = 5
/** What tables do in their first seconds is compiled only then. */
const WARM_SECONDS = 3
const PROCESSES = 4
const TABLES_EACH = 5
export const TABLES = PROCESSES * TABLES_EACH

/** @throws BenchError when a table does not show everything */
export async function measureFlow(store: Store, settings: FlowSettings): Promise<FlowResults> {
  const changes = (settings.seconds + WARM_SECONDS) * RATE
  const probes = changes / PROBE_EVERY
  await using started = new AsyncDisposableStack()
  const areSharing = settings.connections === 'shared'
  const input: SubscriberInput = {
    url: settings.url,
    tables: TABLES_EACH,
    series: settings.connections,
    areSharing,
    probes,
  }
  const tasks = Array.from({ length: PROCESSES }, () =>
    started.use(
      startTask({
        file: 'subscriber-task.ts',
        input,
        cores: [PROXY_CORE, LOAD_CORE],
        signal: settings.signal,
      }),
    ),
  )
  settings.say(`loading ${TABLES} tables in ${PROCESSES} processes, connections: ${settings.connections}`)
  const loaded = await receiveAll(tasks)
  const rows = loaded.reduce((sum, word) => sum + word.rows, 0)
  // The API's writes have added some.
  if (rows < TABLES * settings.routes) throw new BenchError(`${TABLES} tables have ${rows} rows together`)
  settings.say(`${RATE} changes a second`)
  const startedAt = performance.now()
  await writeChanges(store, { ...settings, changes })
  const changesPerSecond = changes / ((performance.now() - startedAt) / 1_000)
  const words = await receiveAll(tasks)
  const visibleMs = Array.from(
    { length: probes },
    (_, probe) => Math.max(...words.map((word) => word.visibleMicros[probe] ?? Number.NaN)) / 1_000,
  )
  return { visibleMs: visibleMs.slice((WARM_SECONDS * RATE) / PROBE_EVERY), changesPerSecond }
}

function receiveAll(tasks: readonly Task[]): Promise<SubscriberWord[]> {
  return Promise.all(tasks.map((task) => task.receive<SubscriberWord>()))
}

/** Each change is a write of its own, as API calls make them. */
async function writeChanges(
  store: Store,
  { changes, routes, signal, connections: series }: FlowSettings & { readonly changes: number },
): Promise<void> {
  const writes: Promise<unknown>[] = []
  const startedAt = performance.now()
  for (let sent = 0; sent < changes; ) {
    const due = Math.min(changes, Math.ceil(((performance.now() - startedAt) * RATE) / 1_000))
    for (; sent < due; sent += 1) writes.push(writeChange(store, sent, { routes, series }))
    await delay(TICK_MS, undefined, { signal })
  }
  await Promise.all(writes)
}

function writeChange(
  store: Store,
  change: number,
  { routes, series }: { routes: number; series: string },
): Promise<unknown> {
  if (change % PROBE_EVERY === 0) {
    const probe = change / PROBE_EVERY
    return store.put(`route/${probeNameOf(series, probe)}`, probeOf(series, probe))
  }
  const index = (change * 7_919) % routes
  return store.put(`route/${hostnameOf(index)}`, { ...rowOf(index), generation: change })
}
