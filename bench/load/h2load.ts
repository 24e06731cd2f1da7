/** HTTP/2 load by h2load. */

import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { BenchError } from '../frame/benchmark.ts'
import type { Program } from '../frame/programs.ts'
import { type Load, type LoadSettings, runGenerator, type Target, toUrl } from './load.ts'

const CONNECTIONS = 8
const STREAMS = 8

/** @throws BenchError when one request failed */
export async function runH2load(
  { path }: Program,
  target: Target,
  { seconds, folder, signal }: LoadSettings,
): Promise<Load> {
  const logFile = join(folder, 'h2load.log')
  // The URL's authority is the :authority of each request; --connect-to replaces only the address.
  const args = [
    ...['-t1', `-c${CONNECTIONS}`, `-m${STREAMS}`, '-D', String(seconds)],
    ...[`--connect-to=127.0.0.1:${target.port}`, `--log-file=${logFile}`, toUrl(target)],
  ]
  const output = await runGenerator([path, ...args], signal)
  const log = await readFile(logFile, 'latin1')
  await rm(logFile)
  return parseH2load(output, log)
}

/**
 * The summary, and the log with a line for each request: start, status, microseconds (h2load's own
 * summary has no percentiles). @throws BenchError when one request failed
 */
export function parseH2load(output: string, log: string): Load {
  const rps = /^finished in .*?, ([\d.]+) req\/s/m.exec(output)?.[1]
  const counts = /^requests: .* (\d+) done, .* (\d+) failed, (\d+) errored, (\d+) timeout$/m.exec(output)
  // More of them 2xx than done is no error: streams cut at the end had their header section already.
  const others = /^status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx$/m.exec(output)
  const isH2 = /^Application protocol: h2$/m.test(output)
  if (rps === undefined || counts === null || others === null || !isH2)
    throw new BenchError(`h2load did not report, or spoke no HTTP/2:\n${output}`)
  const [requests = 0, ...failures] = [...counts.slice(1), ...others.slice(1)].map(Number)
  if (requests === 0 || failures.some((count) => count > 0))
    throw new BenchError(`h2load: some requests failed:\n${counts[0]}\n${others[0]}`)
  return { requests, rps: Number(rps), p99Ms: percentile99(parseLog(log)) / 1_000 }
}

function parseLog(log: string): Float64Array {
  const lines = log.split('\n').filter((line) => line !== '')
  return Float64Array.from(lines, (line) => Number(line.slice(line.lastIndexOf('\t') + 1)))
}

/** The smallest value that at least 99 of 100 do not exceed. */
function percentile99(values: Float64Array): number {
  return values.sort()[Math.ceil(values.length * 0.99) - 1] ?? 0
}
