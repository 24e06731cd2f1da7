/** What of each run was counted by now, on disk: whoever looks after the VMs next counts on from there. */

import { readFile } from 'node:fs/promises'
import { replaceFile } from '../lib/whole-file.ts'
import type { VmUsage } from './vmm.ts'

export type RunTotals = Pick<VmUsage, 'cpuSeconds' | 'seconds'>

export interface UsageMarks {
  /** By run; empty when there are none. */
  load(): Promise<ReadonlyMap<string, RunTotals>>
  save(runs: ReadonlyMap<string, RunTotals>): Promise<void>
}

/** A file that was damaged counts as none: runs that it told of are counted from their beginnings. */
export function createUsageMarks(file: string): UsageMarks {
  return {
    load: async () => {
      try {
        const runs: Record<string, RunTotals> = JSON.parse(await readFile(file, 'utf8'))
        return new Map(Object.entries(runs))
      } catch {
        return new Map()
      }
    },
    save: (runs) => replaceFile(file, JSON.stringify(Object.fromEntries(runs))),
  }
}
