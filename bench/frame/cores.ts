/** Which core does what, so that what is measured never shares a core with what measures it. */

import { execFile } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { promisify } from 'node:util'
import { BenchError } from './benchmark.ts'

export const PROXY_CORE = 0
/** The load generator, the backend and this process. */
export const LOAD_CORE = 1

/** A command line that runs `command` and all its threads on one core; the process id stays the same. */
export function pinned(core: number, command: readonly string[]): [string, ...string[]] {
  return ['taskset', '-c', String(core), ...command]
}

/** Moves this process with all its threads away from the core that is measured. @throws BenchError */
export async function leaveProxyCore(): Promise<void> {
  if (availableParallelism() < 2) throw new BenchError('the benchmarks need two cores: 0 and 1')
  try {
    await promisify(execFile)('taskset', ['-a', '-c', '-p', String(LOAD_CORE), String(process.pid)])
  } catch (cause) {
    throw new BenchError('taskset could not pin this process: the benchmarks need cores 0 and 1', { cause })
  }
}
