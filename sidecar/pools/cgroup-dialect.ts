/** What differs between the versions of cgroups: which hierarchies there are, and what is written to and read from them. */

import type { PoolLimits, VmShare } from './pool-groups.ts'

/** A value for a file of one group. */
export interface GroupFile {
  /** One of the dialect's trees, flat or not. */
  readonly tree: string
  readonly file: string
  readonly value: string
  /** Not every kernel has it. */
  readonly isOptional?: true
}

export interface Dialect {
  readonly kind: 'v2' | 'hybrid'
  /** The folder of our subtree in each hierarchy. The first is in the v2 tree. */
  readonly trees: readonly [string, ...string[]]
  /** Further hierarchies, in which a pool's VMs have no groups of their own. */
  readonly flatTrees: readonly string[]
  /** Written to each group that is to have others with limits in it, in order. */
  readonly inner: readonly GroupFile[]
  /** All limits but that of memory, in order. */
  toPoolFiles(limits: PoolLimits): readonly GroupFile[]
  /** Kills when it is less than is in use. */
  toMemoryLimit(memoryBytes: number): GroupFile
  toVmFiles(share: VmShare): readonly GroupFile[]
  toReclaim(bytes: number): GroupFile
  readonly memory: {
    readonly tree: string
    readonly usageFile: string
    readonly limitFile: string
    /** The field of memory.stat with what may be dropped first. */
    readonly cacheField: string
  }
}

export interface DialectSettings {
  /** As `254:0`; without one there are no limits on I/O. */
  readonly device?: string
  /** Processes and threads of a pool. */
  readonly pids: number
}

const MICROS_PER_MILLI = 1_000
/** Half of the kernel's own: whoever has used up half a CPU waits 25 ms and not 50 ms for the next period. */
const PERIOD_MICROS = 50_000
const MAX_PERIOD_MICROS = 1_000_000
/** The kernel takes no less. */
const MIN_QUOTA_MICROS = 1_000

export interface CpuQuota {
  readonly quotaMicros: number
  readonly periodMicros: number
}

/** Very small pools get longer periods. */
export function toCpuQuota(cpuMillis: number): CpuQuota {
  const least = Math.ceil((MIN_QUOTA_MICROS * MICROS_PER_MILLI) / Math.max(cpuMillis, 1))
  const periodMicros = Math.min(Math.max(PERIOD_MICROS, least), MAX_PERIOD_MICROS)
  const quotaMicros = Math.max(Math.floor((periodMicros * cpuMillis) / MICROS_PER_MILLI), MIN_QUOTA_MICROS)
  return { quotaMicros, periodMicros }
}
