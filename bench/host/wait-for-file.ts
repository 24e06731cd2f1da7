/** Waits for a socket or a file that a program just started is to make. */

import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { BenchError } from '../frame/benchmark.ts'

const LIMIT_MS = 20_000
const POLL_MS = 10

/** @throws BenchError when it does not come */
export async function waitForFile(path: string, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + LIMIT_MS
  while (!existsSync(path)) {
    if (performance.now() > deadline) throw new BenchError(`${path} did not come to be`)
    await sleep(POLL_MS, undefined, { signal })
  }
}
