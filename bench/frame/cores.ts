/** Which core does what, so that what is measured never shares a core with what measures it. */

import { execFile } from 'node:child_process'
import { cpus } from 'node:os'
import { promisify } from 'node:util'
import { BenchError } from './benchmark.ts'
import type { Program } from './programs.ts'

export const PROXY_CORE = 0
/** The load generator, the backend and this process. A machine with one core can check answers, not measure. */
export const LOAD_CORE = Math.min(1, cpus().length - 1)
/** For what is measured as a whole machine. */
export const ALL_CORES: readonly number[] = cpus().map((_, core) => core)

/** A command line that runs `command` and all its threads on the given cores; the process id stays the same. */
export function pinned(core: number | readonly number[], command: readonly string[]): [string, ...string[]] {
  return ['taskset', '-c', String(core), ...command]
}

/** Moves this process with all its threads away from the core that is measured. @throws BenchError */
export async function leaveProxyCore(taskset: Program): Promise<void> {
  if (LOAD_CORE === PROXY_CORE) throw new BenchError('benchmarks need two cores: 0 and 1')
  try {
    await promisify(execFile)(taskset.path, ['-a', '-c', '-p', String(LOAD_CORE), String(process.pid)])
  } catch (cause) {
    throw new BenchError('benchmarks need the cores 0 and 1, and may not run on them here', { cause })
  }
}

/** Moves this process to all cores, where its children start as well. @throws BenchError */
export async function takeAllCores(taskset: Program): Promise<void> {
  try {
    await promisify(execFile)(taskset.path, ['-a', '-c', '-p', String(ALL_CORES), String(process.pid)])
  } catch (cause) {
    throw new BenchError('this process may not run on all cores of this machine', { cause })
  }
}
