/** Watches how much memory a process holds while something runs. */

import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const SAMPLE_MS = 50

export interface MemoryUse {
  readonly beforeMiB: number
  /** The highest value seen. */
  readonly peakMiB: number
  readonly growthMiB: number
}

/** Samples the resident set of `pid` until `work` is done. */
export async function watchMemory(pid: number, work: () => Promise<void>): Promise<MemoryUse> {
  const beforeMiB = residentMiB(pid)
  let peakMiB = beforeMiB
  const over = new AbortController()
  const sampling = (async () => {
    while (!over.signal.aborted) {
      peakMiB = Math.max(peakMiB, residentMiB(pid))
      await sleep(SAMPLE_MS)
    }
  })()
  try {
    await work()
  } finally {
    over.abort()
    await sampling
  }
  return { beforeMiB, peakMiB, growthMiB: Math.round(peakMiB - beforeMiB) }
}

function residentMiB(pid: number): number {
  const kiB = Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  return kiB / 1_024
}
