/** The relay benchmark: what a proxied request costs in nginx, HAProxy, http-proxy-3 and Landfall. */

import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { BenchContext, Benchmark, Report } from './frame/benchmark.ts'
import { readMachine } from './frame/machine.ts'
import { loadPrograms, type Programs } from './frame/programs.ts'
import type { Sample } from './frame/samples.ts'
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
/** Enough for compiled programs to open their connections to the backend. */
const SHORT_WARM_SECONDS = 1

async function run(context: BenchContext): Promise<Report> {
  const programs = await loadPrograms()
  await using lineup = await startLineup(context, programs)
  const { proxies } = lineup
  for (const scenario of SCENARIOS)
    for (const proxy of proxies) await checkProxy(proxy, scenario, { ...lineup, ...context })
  context.say(`${proxies.length} proxies answer as they should; this takes ${minutesOf(context, proxies)}`)
  const measured: Measured[] = []
  for (const scenario of SCENARIOS)
    measured.push(...(await measureScenario(scenario, { context, programs, lineup })))
  return toReport(measured, context, versionsOf(programs))
}

interface Bench {
  readonly context: BenchContext
  readonly programs: Programs
  readonly lineup: Lineup
}

/** Rounds go from proxy to proxy, so that whatever slows the machine down for a while slows all of them. */
async function measureScenario(scenario: Scenario, bench: Bench): Promise<Measured[]> {
  const { context, lineup } = bench
  for (const proxy of lineup.proxies) {
    context.say(`${scenario.name}: warming up ${proxy.name}`)
    await measure(proxy, scenario, { ...bench, seconds: warmSecondsOf(proxy, context) })
  }
  const samples = new Map(lineup.proxies.map((proxy) => [proxy, [] as Sample[]]))
  for (let round = 1; round <= context.settings.rounds; round += 1) {
    for (const [proxy, list] of samples) {
      const sample = await measure(proxy, scenario, { ...bench, seconds: context.settings.roundSeconds })
      list.push(sample)
      context.say(`${scenario.name}, round ${round}: ${proxy.name} ${sample.cpuMicros.toFixed(1)} µs`)
    }
  }
  return [...samples].map(([proxy, samples]) => ({ proxy: proxy.name, scenario: scenario.name, samples }))
}

async function measure(
  proxy: RunningProxy,
  scenario: Scenario,
  { context, programs, lineup, seconds }: Bench & { readonly seconds: number },
): Promise<Sample> {
  const { folder, signal } = context
  const target = { scheme: scenario.scheme, hostname: lineup.hostname, port: proxy.ports[scenario.port] }
  const cpuBeforeMs = proxy.readCpuMs()
  const { requests, rps, p99Ms } = await scenario.run(programs, target, { seconds, folder, signal })
  const cpuMs = proxy.readCpuMs() - cpuBeforeMs
  await proxy.emptyLog()
  await delay(SETTLE_MS, undefined, { signal })
  return { cpuMicros: (cpuMs * 1_000) / requests, rps, p99Ms }
}

function warmSecondsOf({ isJitCompiled }: RunningProxy, { settings }: BenchContext): number {
  return isJitCompiled ? settings.warmSeconds : Math.min(settings.warmSeconds, SHORT_WARM_SECONDS)
}

function minutesOf(context: BenchContext, proxies: readonly RunningProxy[]): string {
  const { rounds, roundSeconds } = context.settings
  const runSeconds = proxies.map((proxy) => warmSecondsOf(proxy, context) + rounds * roundSeconds)
  const seconds = SCENARIOS.length * runSeconds.reduce((sum, some) => sum + some, 0)
  return `${(seconds / 60).toFixed(1)} minutes`
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

function versionsOf(programs: Programs): Report['versions'] {
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
