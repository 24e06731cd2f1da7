/** Which core does what, so that what is measured never shares a core with what measures it. */

import { execFile } from 'node:child_process'
import { cpus } from 'node:os'
import { promisify } from 'node:util'
import { BenchError } from './benchmark.ts'
import type { Program } from './programs.ts'

export const PROXY_CORE = 0
/** The load generator, the backend and this process. A machine with one core can check answers, not measure. */
export const LOAD_CORE = Math.min(1, cpus().length - 1)

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
