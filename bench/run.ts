/** `npm run bench -- NAME`: picks a benchmark, runs it, prints its table and keeps its results. */

import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { authBenchmark } from './auth.ts'
import { BenchError, type Benchmark, type BenchSettings } from './frame/benchmark.ts'
import { leaveProxyCore } from './frame/cores.ts'
import { readMachine } from './frame/machine.ts'
import { loadPrograms } from './frame/programs.ts'
import { writeResults } from './frame/results-file.ts'
import { toTextTable } from './frame/text-table.ts'
import { hostBenchmark } from './host.ts'
import { relayBenchmark } from './relay.ts'
import { tableBenchmark } from './table.ts'
import { tlsBenchmark } from './tls.ts'

const BENCHMARKS: readonly Benchmark[] = [
  relayBenchmark,
  authBenchmark,
  tableBenchmark,
  hostBenchmark,
  tlsBenchmark,
]

const USAGE = `usage: npm run bench -- NAME [--rounds 5] [--seconds 3] [--warm 60000] [--routes 1000000]
                            [--certificates 100000] [--out bench/results]

  --rounds        how often each measurement is repeated; the medians count
  --seconds       of one round; shorter ones are for trying out, CPU time is read in steps of 10 ms
  --warm          requests before the first round
  --routes        rows of the table; fewer are for trying out
  --certificates  of the TLS benchmark, beside one; fewer are for trying out
  --out           folder for NAME.json and NAME.svg

${BENCHMARKS.map(({ name, summary }) => `  ${name.padEnd(10)}  ${summary}\n`).join('')}`

const OPTIONS = {
  rounds: { type: 'string', default: '5' },
  seconds: { type: 'string', default: '3' },
  warm: { type: 'string', default: '60000' },
  routes: { type: 'string', default: '1000000' },
  certificates: { type: 'string', default: '100000' },
  out: { type: 'string', default: 'bench/results' },
} as const

const abort = new AbortController()
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(name, () => abort.abort(new BenchError(`ended by ${name}`)))

try {
  await main(process.argv.slice(2))
} catch (error) {
  process.exitCode = abort.signal.aborted ? 130 : 1
  const shown = abort.signal.aborted ? abort.signal.reason : error
  process.stderr.write(`bench: ${shown instanceof BenchError ? explain(shown) : shown.stack}\n`)
}

async function main(args: string[]): Promise<void> {
  const { positionals, values } = parse(args)
  const benchmark = BENCHMARKS.find(({ name }) => name === positionals[0])
  if (benchmark === undefined || positionals.length !== 1) {
    process.exitCode = 2
    process.stderr.write(USAGE)
    return
  }
  await measure(benchmark, { settings: toSettings(values), outFolder: values.out })
}

async function measure(
  benchmark: Benchmark,
  { settings, outFolder }: { settings: BenchSettings; outFolder: string },
): Promise<void> {
  const programs = await loadPrograms()
  await leaveProxyCore(programs.taskset)
  const machine = readMachine()
  await using folder = await mkdtempDisposable(join(tmpdir(), 'landfall-bench-'))
  const say = (line: string) => process.stderr.write(`${line}\n`)
  const report = await benchmark.run({ settings, programs, folder: folder.path, signal: abort.signal, say })
  const run = { report, machine, settings, date: new Date() }
  const files = await writeResults(run, { folder: outFolder, name: benchmark.name })
  const versions = Object.entries(report.versions).map(([name, version]) => `${name} ${version}`)
  process.stdout.write(`
${toTextTable(report.table)}
${machine.cpu}, ${machine.cores} cores, ${machine.kernel}
${versions.join(', ')}
written: ${files.join(', ')}
`)
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options: OPTIONS, allowPositionals: true })
  } catch (cause) {
    throw new BenchError(`${(cause as Error).message}\n\n${USAGE}`, { cause })
  }
}

type Counts = Record<'rounds' | 'seconds' | 'warm' | 'routes' | 'certificates', string>

function toSettings({ rounds, seconds, warm, routes, certificates }: Counts): BenchSettings {
  return {
    rounds: toCount('rounds', rounds),
    roundSeconds: toCount('seconds', seconds),
    warmRequests: toCount('warm', warm),
    routes: toCount('routes', routes),
    certificates: toCount('certificates', certificates),
  }
}

function toCount(name: string, text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new BenchError(`--${name} takes a whole number from 1 to 9999999`)
  return Number(text)
}

function explain({ message, cause }: BenchError): string {
  return cause instanceof Error && !message.includes(cause.message) ? `${message}\n${cause.message}` : message
}
