/**
 * Pools in v1 hierarchies of cgroups for the limits, and in the v2 tree without controllers for the rest: it ends and
 * freezes groups, tells of pressure and counts CPU time. The freezer of v1 is left alone, as what it holds cannot be
 * killed, and its cpuacct, as the v2 tree counts the same.
 */

import { type Dialect, type DialectSettings, toCpuQuota } from './cgroup-dialect.ts'
import type { PoolLimits, VmShare } from './pool-groups.ts'

/** Our subtree's folder in each hierarchy. */
export interface HybridTrees {
  readonly unified: string
  readonly cpu: string
  readonly memory: string
  readonly pids: string
  readonly blkio?: string
}

/** A weight of 100 in v2 is as much as 1,024 shares in v1: both are the kernel's default. */
const SHARES_PER_WEIGHT = 10.24
const MIN_SHARES = 2

export function createHybridDialect(trees: HybridTrees, { device, pids }: DialectSettings): Dialect {
  const { unified, cpu, memory, blkio } = trees
  const at = (tree: string, file: string, value: string | number) => ({ tree, file, value: String(value) })
  const maybeAt = (tree: string, file: string, value: string | number) =>
    ({ ...at(tree, file, value), isOptional: true }) as const
  // Controllers may share a hierarchy.
  const limited = new Set([cpu, memory, trees.pids])
  return {
    kind: 'hybrid',
    trees: [unified, ...limited],
    // v1 does not hold groups to the I/O limit of the one that they are in.
    flatTrees: blkio === undefined || limited.has(blkio) ? [] : [blkio],
    inner: [],
    toPoolFiles: ({ cpuMillis, ioBytesPerSecond = 0 }: PoolLimits) => {
      const { quotaMicros, periodMicros } = toCpuQuota(cpuMillis)
      return [
        // A burst above the quota is refused, so it has to be out of the way before the quota falls.
        maybeAt(cpu, 'cpu.cfs_burst_us', 0),
        at(cpu, 'cpu.cfs_period_us', periodMicros),
        at(cpu, 'cpu.cfs_quota_us', quotaMicros),
        maybeAt(cpu, 'cpu.cfs_burst_us', quotaMicros),
        at(trees.pids, 'pids.max', pids),
        // 0 takes a limit away. Only what goes past the page cache is held to it.
        ...(blkio === undefined || device === undefined
          ? []
          : ['read', 'write'].map((way) =>
              at(blkio, `blkio.throttle.${way}_bps_device`, `${device} ${ioBytesPerSecond}`),
            )),
      ]
    },
    toMemoryLimit: (memoryBytes) => at(memory, 'memory.limit_in_bytes', memoryBytes),
    toVmFiles: ({ weight, memoryLowBytes }: VmShare) => [
      at(cpu, 'cpu.shares', Math.max(MIN_SHARES, Math.round(weight * SHARES_PER_WEIGHT))),
      // Heeded only when the whole machine is short of memory.
      maybeAt(memory, 'memory.soft_limit_in_bytes', memoryLowBytes),
    ],
    // v1 cannot be asked for an amount: it drops what it can.
    toReclaim: () => at(memory, 'memory.force_empty', 0),
    memory: {
      tree: memory,
      usageFile: 'memory.usage_in_bytes',
      limitFile: 'memory.limit_in_bytes',
      cacheField: 'total_inactive_file',
    },
  }
}
