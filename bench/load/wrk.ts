/** HTTP/1.1 load by wrk. */

import { fileURLToPath } from 'node:url'
import { BenchError } from '../frame/benchmark.ts'
import type { Program } from '../frame/programs.ts'
import { type Load, type LoadSettings, runGenerator, type Target, toUrl } from './load.ts'

const SCRIPT = fileURLToPath(new URL('wrk.lua', import.meta.url))
const TOKENS_SCRIPT = fileURLToPath(new URL('wrk-tokens.lua', import.meta.url))
const CONNECTIONS = 32

/** With a `tokensFile` each request brings one of its lines as bearer token. @throws BenchError when one request failed */
export async function runWrk(
  { path }: Program,
  target: Target,
  { seconds, signal, tokensFile }: LoadSettings & { readonly tokensFile?: string },
): Promise<Load> {
  const script =
    tokensFile === undefined ? [SCRIPT, toUrl(target)] : [TOKENS_SCRIPT, toUrl(target), '--', tokensFile]
  const args = ['-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, '-s', ...script]
  return parseWrk(await runGenerator([path, ...args], signal))
}

/** The line that `wrk.lua` writes. @throws BenchError when it is missing or counts an error */
export function parseWrk(output: string): Load {
  const line = output.split('\n').find((text) => text.startsWith('{'))
  if (line === undefined) throw new BenchError(`wrk did not report:\n${output}`)
  const { requests, durationMicros, p99Micros, socketErrors, statusErrors } = JSON.parse(line)
  if (socketErrors > 0 || statusErrors > 0 || requests === 0)
    throw new BenchError(
      `wrk: ${requests} requests, ${socketErrors} socket errors, ${statusErrors} error statuses`,
    )
  return { requests, rps: requests / (durationMicros / 1e6), p99Ms: p99Micros / 1_000 }
}
