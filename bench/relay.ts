/** The relay benchmark: what a proxied request costs in nginx, HAProxy, http-proxy-3 and Landfall. */

import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { BenchContext, Benchmark, Report } from './frame/benchmark.ts'
import { readMachine } from './frame/machine.ts'
import type { Sample } from './frame/samples.ts'
import type { Load } from './load/load.ts'
import type { RunningProxy } from './proxies/proxy.ts'
import { checkProxy } from './relay/answer-check.ts'
import { type Lineup, startLineup } from './relay/lineup.ts'
import { type Measured, toChart, toRows, toTable } from './relay/report.ts'
import { SCENARIOS, type Scenario } from './relay/scenarios.ts'

export const relayBenchmark: Benchmark = {
  name: 'relay',
  summary: 'CPU time, rate and p99 of a small request through nginx, HAProxy, http-proxy-3 and Landfall',
  run,
}

/** Connections of the round before are closed by then, and their end is not counted in the next. */
const SETTLE_MS = 100
const WARM_STEP_SECONDS = 1
/** A proxy that is this slow is measured as it is. */
const WARM_LIMIT_SECONDS = 10

async function run(context: BenchContext): Promise<Report> {
  await using lineup = await startLineup(context)
  const { proxies } = lineup
  for (const scenario of SCENARIOS)
    for (const proxy of proxies) await checkProxy(proxy, scenario, { ...lineup, ...context })
  context.say(`${proxies.map(({ name }) => name).join(', ')} answer as they should`)
  const measured: Measured[] = []
  for (const scenario of SCENARIOS) measured.push(...(await measureScenario(scenario, { context, lineup })))
  return toReport(measured, context, versionsOf(context))
}

interface Bench {
  readonly context: BenchContext
  readonly lineup: Lineup
}

/** Rounds go from proxy to proxy, so that whatever slows the machine down for a while slows all of them. */
async function measureScenario(scenario: Scenario, bench: Bench): Promise<Measured[]> {
  const { context, lineup } = bench
  for (const proxy of lineup.proxies) await warmUp(proxy, scenario, bench)
  const samples = new Map(lineup.proxies.map((proxy) => [proxy, [] as Sample[]]))
  for (let round = 1; round <= context.settings.rounds; round += 1) {
    for (const [proxy, list] of samples) {
      const sample = await measure(proxy, scenario, bench)
      list.push(sample)
      context.say(`${scenario.name}, round ${round}: ${proxy.name} ${sample.cpuMicros.toFixed(1)} µs`)
    }
  }
  return [...samples].map(([proxy, samples]) => ({ proxy: proxy.name, scenario: scenario.name, samples }))
}

/** Node compiles what it has run often: Landfall was measured at 59 µs in its first second and 36 µs after 60,000 requests. */
async function warmUp(proxy: RunningProxy, scenario: Scenario, bench: Bench): Promise<void> {
  bench.context.say(`${scenario.name}: warming up ${proxy.name}`)
  let requests = 0
  for (let second = 0; second < WARM_LIMIT_SECONDS; second += WARM_STEP_SECONDS) {
    requests += (await load(proxy, scenario, { ...bench, seconds: WARM_STEP_SECONDS })).requests
    if (requests >= bench.context.settings.warmRequests) return
  }
}

async function measure(proxy: RunningProxy, scenario: Scenario, bench: Bench): Promise<Sample> {
  const cpuBeforeMs = proxy.readCpuMs()
  const seconds = bench.context.settings.roundSeconds
  const { requests, rps, p99Ms } = await load(proxy, scenario, { ...bench, seconds })
  const cpuMs = proxy.readCpuMs() - cpuBeforeMs
  await delay(SETTLE_MS, undefined, bench.context)
  return { cpuMicros: (cpuMs * 1_000) / requests, rps, p99Ms }
}

async function load(
  proxy: RunningProxy,
  scenario: Scenario,
  { context, lineup, seconds }: Bench & { readonly seconds: number },
): Promise<Load> {
  const { programs, folder, signal } = context
  const target = { scheme: scenario.scheme, hostname: lineup.hostname, port: proxy.ports[scenario.port] }
  const done = await scenario.run(programs, target, { seconds, folder, signal })
  await proxy.emptyLog()
  return done
}

function toReport(
  measured: readonly Measured[],
  { settings }: BenchContext,
  versions: Report['versions'],
): Report {
  const rows = toRows(measured)
  const { cpu, cores } = readMachine()
  const subtitle = `one core of ${cpu} (${cores} cores), median of ${settings.rounds} rounds of ${settings.roundSeconds} s, 100-byte answers`
  return { rows, table: toTable(rows, measured), chart: toChart(rows, subtitle), versions }
}

/** Of everything that takes part in a benchmark of proxies. */
export function versionsOf({ programs }: Pick<BenchContext, 'programs'>): Report['versions'] {
  const packageJson = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  const { nginx, haproxy, wrk, h2load } = programs
  return {
    landfall: packageJson.version,
    node: process.version,
    'http-proxy-3': packageJson.dependencies['http-proxy-3'],
    nginx: nginx.version,
    haproxy: haproxy.version,
    wrk: wrk.version,
    h2load: h2load.version,
  }
}
