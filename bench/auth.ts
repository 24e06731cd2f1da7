/** The auth benchmark: what a request with a JWT costs in nginx with `auth_request`, HAProxy with `jwt_verify`, and Landfall. */

import { setTimeout as delay } from 'node:timers/promises'
import { checkCandidate } from './auth/answer-check.ts'
import { type AuthLineup, type Candidate, startAuthLineup } from './auth/lineup.ts'
import { type AuthMeasured, toChart, toRows, toTable } from './auth/report.ts'
import { type AuthScenario, candidatesOf, SCENARIOS } from './auth/scenarios.ts'
import type { BenchContext, Benchmark, Report } from './frame/benchmark.ts'
import { readMachine } from './frame/machine.ts'
import type { Sample } from './frame/samples.ts'
import type { Load } from './load/load.ts'
import { runWrk } from './load/wrk.ts'
import { versionsOf } from './relay.ts'

export const authBenchmark: Benchmark = {
  name: 'auth',
  summary: 'CPU time of a request with a JWT through nginx, HAProxy and Landfall, and of one without',
  run,
}

/** Connections of the round before are closed by then, and their end is not counted in the next. */
const SETTLE_MS = 100

async function run(context: BenchContext): Promise<Report> {
  await using lineup = await startAuthLineup(context)
  for (const candidate of lineup.candidates) await checkCandidate(candidate, { ...lineup, ...context })
  context.say('good tokens are let in, and nothing else')
  const measured: AuthMeasured[] = []
  for (const scenario of SCENARIOS) measured.push(...(await measureScenario(scenario, { context, lineup })))
  const rows = toRows(measured)
  const { cpu, cores } = readMachine()
  const { rounds, roundSeconds } = context.settings
  const subtitle = `one core of ${cpu} (${cores} cores), median of ${rounds} rounds of ${roundSeconds} s, TLS h1, ES256`
  return {
    rows,
    table: toTable(rows, measured),
    chart: toChart(rows, subtitle),
    versions: versionsOf(context),
  }
}

interface Bench {
  readonly context: BenchContext
  readonly lineup: AuthLineup
}

/** Rounds go from proxy to proxy, so that whatever slows the machine down for a while slows all of them. */
async function measureScenario(scenario: AuthScenario, bench: Bench): Promise<AuthMeasured[]> {
  const { context, lineup } = bench
  const candidates = candidatesOf(lineup.candidates, scenario)
  for (const candidate of candidates) await warmUp(candidate, scenario, bench)
  const samples = new Map(candidates.map((candidate) => [candidate, [] as Sample[]]))
  for (let round = 1; round <= context.settings.rounds; round += 1) {
    for (const [candidate, list] of samples) {
      const sample = await measure(candidate, scenario, bench)
      list.push(sample)
      context.say(
        `${scenario.name}, round ${round}: ${candidate.proxy.name} ${sample.cpuMicros.toFixed(1)} µs`,
      )
    }
  }
  return [...samples].map(([{ product, proxy }, samples]) => ({
    ...{ product, proxy: proxy.name, scenario: scenario.name, samples },
  }))
}

async function warmUp(candidate: Candidate, scenario: AuthScenario, bench: Bench): Promise<void> {
  bench.context.say(`${scenario.name}: warming up ${candidate.proxy.name}`)
  const { warmRequests } = bench.context.settings
  for (let requests = 0, turns = 0; requests < warmRequests && turns < 10; turns += 1)
    requests += (await load(candidate, scenario, { ...bench, seconds: 1 })).requests
}

async function measure({ proxy, ...rest }: Candidate, scenario: AuthScenario, bench: Bench): Promise<Sample> {
  const { settings, signal } = bench.context
  const cpuBeforeMs = proxy.readCpuMs()
  const done = await load({ proxy, ...rest }, scenario, { ...bench, seconds: settings.roundSeconds })
  const cpuMs = proxy.readCpuMs() - cpuBeforeMs
  await delay(SETTLE_MS, undefined, { signal })
  return { cpuMicros: (cpuMs * 1_000) / done.requests, rps: done.rps, p99Ms: done.p99Ms }
}

async function load(
  { proxy }: Candidate,
  { tokens }: AuthScenario,
  { context, lineup, seconds }: Bench & { readonly seconds: number },
): Promise<Load> {
  const { programs, folder, signal } = context
  const target = { scheme: 'https', hostname: lineup.hostname, port: proxy.ports.tls } as const
  const tokensFile = tokens === 'one' ? lineup.oneTokenFile : lineup.tokens.file
  const done = await runWrk(programs.wrk, target, { seconds, folder, signal, tokensFile })
  await proxy.emptyLog()
  return done
}
