/** Runs a load generator on its own core; what it says is read by the file of that generator. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { BenchError } from '../frame/benchmark.ts'
import { LOAD_CORE, pinned } from '../frame/cores.ts'

export interface Target {
  readonly scheme: 'http' | 'https'
  /** Server name and Host; the connection goes to 127.0.0.1. */
  readonly hostname: string
  readonly port: number
}

export interface LoadSettings {
  readonly seconds: number
  /** Temporary. */
  readonly folder: string
  readonly signal: AbortSignal
}

/** What one run of a load generator counted. */
export interface Load {
  /** Answered, all with a 2xx status. */
  readonly requests: number
  readonly rps: number
  readonly p99Ms: number
}

export function toUrl({ scheme, hostname, port }: Target): string {
  return `${scheme}://${hostname}:${port}/`
}

/** Returns what it prints on standard output. @throws BenchError, or the signal's reason */
export async function runGenerator(command: readonly string[], signal: AbortSignal): Promise<string> {
  const [file, ...args] = pinned(LOAD_CORE, command)
  try {
    return (await promisify(execFile)(file, args, { signal })).stdout
  } catch (cause) {
    signal.throwIfAborted()
    throw new BenchError(`a load generator failed: ${command.join(' ')}`, { cause })
  }
}
