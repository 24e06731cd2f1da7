/** The TLS benchmark: what a handshake costs in nginx, HAProxy and Landfall, full and resumed, with one certificate and with many. */

import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { BenchContext, Benchmark, Report } from './frame/benchmark.ts'
import { readMachine } from './frame/machine.ts'
import { checkServer } from './tls/answer-check.ts'
import { CIPHER, GROUP } from './tls/client-context.ts'
import { type HandshakeClients, startHandshakeClients, type Target } from './tls/handshakes.ts'
import { type Candidate, startTlsLineup } from './tls/lineup.ts'
import { readOpensslVersions } from './tls/openssl-versions.ts'
import { type TlsMeasured, type TlsSample, toChart, toRows, toTable } from './tls/report.ts'
import { SCENARIOS, type TlsScenario, titleOf } from './tls/scenarios.ts'
import { SERVERS } from './tls/servers.ts'

export const tlsBenchmark: Benchmark = {
  name: 'tls',
  summary:
    'CPU time of a TLS 1.3 handshake in nginx, HAProxy and Landfall, with 1 and with many certificates',
  run,
}

/** Connections of the round before are closed by then, and their end is not counted in the next. */
const SETTLE_MS = 100
/** A handshake counts as so many requests. Landfall took 311 µs each for its first 10,000, and 270 µs after 20,000. */
const REQUESTS_EACH = 3
/** A server that is this slow is measured as it is. */
const WARM_LIMIT_SECONDS = 10

/** One server in one scenario. */
interface Cell {
  readonly scenario: TlsScenario
  readonly candidate: Candidate
  readonly target: Target
  readonly samples: TlsSample[]
}

async function run(context: BenchContext): Promise<Report> {
  const { settings, signal, say } = context
  await using lineup = await startTlsLineup(context, settings.certificates)
  for (const candidate of lineup.candidates) await checkServer(toTarget(candidate), { ...lineup, signal })
  say('each server has the right certificate for each name, and resumes what it should')
  await using clients = startHandshakeClients(signal)
  const cells = toCells(lineup.candidates)
  for (const cell of cells) await warmUp(cell, { clients, context })
  for (let round = 1; round <= settings.rounds; round += 1) {
    for (const cell of cells) {
      const sample = await measure(cell, { clients, context })
      cell.samples.push(sample)
      say(`round ${round}: ${describe(cell, settings.certificates)} ${sample.cpuMicros.toFixed(1)} µs`)
    }
  }
  return await toReport(toMeasured(cells), context)
}

/**
 * One server after the other, each with one certificate and with many: what is compared within five per cent is
 * measured one right after the other, and rounds go from server to server.
 */
function toCells(candidates: readonly Candidate[]): Cell[] {
  const ofServers = SERVERS.flatMap(({ name }) => candidates.filter(({ server }) => server === name))
  return ofServers
    .flatMap((candidate) => SCENARIOS.map((scenario) => ({ candidate, scenario })))
    .filter(({ candidate, scenario }) => candidate.isOne === (scenario.certificates === 'one'))
    .map((cell) => ({ ...cell, target: toTarget(cell.candidate), samples: [] }))
}

function toTarget({ server, names, proxy }: Candidate): Target {
  return { name: server, port: proxy.ports.tls, names }
}

interface Bench {
  readonly clients: HandshakeClients
  readonly context: BenchContext
}

async function warmUp({ target, scenario }: Cell, { clients, context }: Bench): Promise<void> {
  const { warmRequests, roundSeconds } = context.settings
  const wanted = warmRequests / REQUESTS_EACH
  const step = Math.min(1, roundSeconds)
  await clients.prime(target)
  for (let done = 0, seconds = 0; done < wanted && seconds < WARM_LIMIT_SECONDS; seconds += step)
    done += (await clients.run(target, { ...scenario, seconds: step })).handshakes
}

async function measure(
  { target, scenario, candidate }: Cell,
  { clients, context }: Bench,
): Promise<TlsSample> {
  const { signal, settings } = context
  const seconds = settings.roundSeconds
  await clients.prime(target)
  await delay(SETTLE_MS, undefined, { signal })
  const cpuBeforeMs = candidate.proxy.readCpuMs()
  const { handshakes, perSecond } = await clients.run(target, { ...scenario, seconds })
  const cpuMs = candidate.proxy.readCpuMs() - cpuBeforeMs
  await candidate.proxy.emptyLog()
  return { cpuMicros: (cpuMs * 1_000) / handshakes, perSecond, busy: cpuMs / (seconds * 1_000) }
}

/** In the order of the scenarios, as they are read. */
function toMeasured(cells: readonly Cell[]): TlsMeasured[] {
  return SCENARIOS.flatMap((scenario) => cells.filter((cell) => cell.scenario === scenario)).map(
    ({ candidate, scenario, samples }) => {
      const { server, proxy } = candidate
      return { server, scenario, samples, memoryMb: proxy.readMemoryMb() }
    },
  )
}

function describe({ target, scenario }: Cell, many: number): string {
  return `${target.name}, ${titleOf(scenario, many)}`
}

async function toReport(
  measured: readonly TlsMeasured[],
  { settings, programs }: BenchContext,
): Promise<Report> {
  const { rounds, roundSeconds, certificates: many } = settings
  const rows = toRows(measured, many)
  const { cpu, cores } = readMachine()
  const subtitle = `one core of ${cpu} (${cores} cores), median of ${rounds} rounds of ${roundSeconds} s, P-256, ${GROUP}, ${CIPHER.replace('TLS_', '')}`
  const packageJson = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  const { nginx, haproxy } = programs
  const versions = {
    ...{ landfall: packageJson.version, node: process.version },
    ...{ nginx: nginx.version, haproxy: haproxy.version },
    ...(await readOpensslVersions(programs)),
  }
  return {
    rows,
    table: toTable(rows, measured),
    chart: toChart(rows, { measured, subtitle, many }),
    versions,
  }
}
