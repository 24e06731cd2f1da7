/** The table benchmark: an edge's routing table over Redis; loading, memory, look-ups, changes on their way, writes. */

import { readFileSync } from 'node:fs'
import { startRedisStore } from '../routing/store/redis-store.ts'
import type { BenchContext, Benchmark, Report } from './frame/benchmark.ts'
import { BenchError } from './frame/benchmark.ts'
import { PROXY_CORE } from './frame/cores.ts'
import { readMachine } from './frame/machine.ts'
import { median } from './frame/samples.ts'
import { type FlowResults, measureFlow } from './table/change-flow.ts'
import type { EdgeInput, EdgeLoaded, EdgeResults } from './table/edge-task.ts'
import type { PeerInput, PeerResults } from './table/peer-task.ts'
import { type RedisServer, startRedisServer } from './table/redis-server.ts'
import { MEASURES, type Measured, OURS, p99, toChart, toRows, toTable } from './table/report.ts'
import { fillStore } from './table/rows.ts'
import { startTask } from './table/task.ts'
import { STRICT_LOG } from './table/task-side.ts'

export const tableBenchmark: Benchmark = {
  name: 'table',
  summary: 'cold load, memory, look-ups, changes on their way and API writes of a table in Redis',
  run,
}

const PEER = 'a Map'
const LIMIT = 'empty Map'

async function run(context: BenchContext): Promise<Report> {
  const { settings, say } = context
  await using redis = await startRedisServer(context)
  await using store = await startRedisStore({ url: redis.url }, { log: STRICT_LOG })
  say(`writing ${settings.routes} routes`)
  await fillStore(store, settings.routes)
  const edge = await measureEdge(redis, context)
  const map = await measurePeer('map', context)
  const empty = await measurePeer('empty', context)
  const seconds = settings.rounds * settings.roundSeconds
  const flowSettings = { url: redis.url, routes: settings.routes, seconds, ...context }
  const flow = await measureFlow(store, { ...flowSettings, connections: 'shared' })
  const ownFlow = await measureFlow(store, { ...flowSettings, connections: 'own' })
  return toReport(toMeasured({ edge, map, empty, flow, ownFlow }), context)
}

interface EdgeMeasured extends EdgeResults {
  readonly loadSeconds: number
}

/** An edge in a process of its own, loaded once a round; the last one is looked at more closely. */
async function measureEdge({ url }: RedisServer, context: BenchContext): Promise<EdgeMeasured> {
  const { rounds, roundSeconds, routes } = context.settings
  const input: EdgeInput = { url, routes, rounds, writeSeconds: rounds * roundSeconds }
  const loads: number[] = []
  for (let round = 1; ; round += 1) {
    const startedAt = performance.now()
    await using task = startTask({ file: 'edge-task.ts', input, cores: [PROXY_CORE], signal: context.signal })
    const { rows } = await task.receive<EdgeLoaded>()
    loads.push((performance.now() - startedAt) / 1_000)
    context.say(`cold load, round ${round}: ${loads.at(-1)?.toFixed(2)} s`)
    if (rows !== routes) throw new BenchError(`the table has ${rows} rows instead of ${routes}`)
    if (round < rounds) continue
    task.send({})
    return { ...(await task.receive<EdgeResults>()), loadSeconds: median(loads) }
  }
}

async function measurePeer(kind: PeerInput['kind'], context: BenchContext): Promise<PeerResults> {
  const { routes, rounds } = context.settings
  const input: PeerInput = { kind, routes, rounds }
  await using task = startTask({ file: 'peer-task.ts', input, cores: [PROXY_CORE], signal: context.signal })
  return await task.receive<PeerResults>()
}

interface AllMeasured {
  readonly edge: EdgeMeasured
  readonly map: PeerResults
  readonly empty: PeerResults
  readonly flow: FlowResults
  readonly ownFlow: FlowResults
}

function toMeasured({ edge, map, empty, flow, ownFlow }: AllMeasured): Measured[] {
  const { load, memory, lookup, change, write } = MEASURES
  const ours = (value: number) => ({ of: OURS, value })
  return [
    { measure: load, values: [ours(edge.loadSeconds)] },
    {
      measure: memory,
      values: [
        ours(edge.used.mb),
        { of: 'no row used', value: edge.bare.mb },
        { of: PEER, value: map.used.mb },
      ],
      facts: [
        { of: 'full collection', value: edge.used.collectionMs, unit: 'ms' },
        { of: 'the same, a Map', value: map.used.collectionMs, unit: 'ms' },
      ],
    },
    {
      measure: lookup,
      values: [ours(edge.lookupNs), { of: PEER, value: map.lookupNs }, { of: LIMIT, value: empty.lookupNs }],
    },
    {
      measure: change,
      values: [
        ours(p99(flow.visibleMs)),
        { of: 'median', value: median(flow.visibleMs) },
        { of: 'own sockets', value: p99(ownFlow.visibleMs) },
      ],
      facts: [{ of: 'changes meanwhile', value: flow.changesPerSecond, unit: '1/s' }],
    },
    { measure: write, values: [ours(p99(edge.writesMs)), { of: 'median', value: median(edge.writesMs) }] },
  ]
}

function toReport(measured: readonly Measured[], { settings, programs }: BenchContext): Report {
  const { cpu, cores } = readMachine()
  const subtitle = `${settings.routes} routes in Redis on this machine: ${cpu} (${cores} cores)`
  const packageJson = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  const versions = {
    landfall: packageJson.version,
    node: process.version,
    ioredis: packageJson.dependencies.ioredis,
    redis: programs['redis-server'].version,
  }
  return { rows: toRows(measured), table: toTable(measured), chart: toChart(measured, subtitle), versions }
}
