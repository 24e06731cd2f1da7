/** Pools in the v2 tree of cgroups, where it has the controllers. */

import { join } from 'node:path'
import { unless } from '../../lib/node-error.ts'
import { type Dialect, type DialectSettings, toCpuQuota } from './cgroup-dialect.ts'
import type { CgroupFiles } from './cgroup-files.ts'
import type { PoolLimits, VmShare } from './pool-groups.ts'

const NEEDED = ['cpu', 'memory', 'pids']
/** From this share of its memory on a pool's processes are slowed, so that there is time to make room before any is killed. */
const HIGH_SHARE = 31 / 32

/** Whether pools can be made in a group with these controllers. */
export function hasControllers(controllers: string): boolean {
  const has = controllers.trim().split(/\s+/)
  return NEEDED.every((one) => has.includes(one))
}

export function hasIo(controllers: string): boolean {
  return controllers.trim().split(/\s+/).includes('io')
}

/** `tree` is the folder of a group that has the needed controllers. */
export function createV2Dialect(
  tree: string,
  { device, pids, controllers }: DialectSettings & { readonly controllers: string },
): Dialect {
  const at = (file: string, value: string | number) => ({ tree, file, value: String(value) })
  const maybeAt = (file: string, value: string | number) =>
    ({ ...at(file, value), isOptional: true }) as const
  const passed = [...NEEDED, ...(hasIo(controllers) ? ['io'] : [])]
  return {
    kind: 'v2',
    trees: [tree],
    flatTrees: [],
    inner: [at('cgroup.subtree_control', passed.map((one) => `+${one}`).join(' '))],
    toPoolFiles: ({ cpuMillis, memoryBytes, ioBytesPerSecond }: PoolLimits) => {
      const { quotaMicros, periodMicros } = toCpuQuota(cpuMillis)
      const io = ioBytesPerSecond ?? 'max'
      return [
        // A burst above the quota is refused, so it has to be out of the way before the quota falls.
        maybeAt('cpu.max.burst', 0),
        at('cpu.max', `${quotaMicros} ${periodMicros}`),
        maybeAt('cpu.max.burst', quotaMicros),
        at('pids.max', pids),
        ...(hasIo(controllers) && device !== undefined
          ? [at('io.max', `${device} rbps=${io} wbps=${io}`)]
          : []),
        at('memory.high', Math.floor(memoryBytes * HIGH_SHARE)),
        // Else a pool without room could take all of the machine's swap.
        maybeAt('memory.swap.max', memoryBytes),
      ]
    },
    toMemoryLimit: (memoryBytes) => at('memory.max', memoryBytes),
    toVmFiles: ({ weight, memoryLowBytes }: VmShare) => [
      at('cpu.weight', weight),
      at('memory.low', memoryLowBytes),
      // A VMM without its disk is no VM, and both hold the guest's memory: it is free when both have ended.
      at('memory.oom.group', 1),
    ],
    toReclaim: (bytes) => at('memory.reclaim', bytes),
    memory: {
      tree,
      usageFile: 'memory.current',
      limitFile: 'memory.max',
      cacheField: 'inactive_file',
    },
  }
}

/**
 * Makes the group `path` below the mount, with controllers, and none of the processes that are in it directly: they
 * go to its group `sidecar`. Its controllers are returned.
 */
export async function openDelegated(files: CgroupFiles, mount: string, path: string): Promise<string> {
  let folder = mount
  for (const part of path.split('/')) {
    const parent = folder
    folder = join(folder, part)
    await files.make(folder)
    const controllers = await files.read(join(folder, 'cgroup.controllers'))
    const lacksIo = parent === mount && !hasIo(controllers)
    if (lacksIo || !hasControllers(controllers)) await passOn(files, parent)
  }
  await moveOut(files, folder)
  return files.read(join(folder, 'cgroup.controllers'))
}

/** Of a group that is not ours we ask, and take a no. */
async function passOn(files: CgroupFiles, folder: string): Promise<void> {
  for (const controller of [...NEEDED, 'io']) {
    const refused = unless('EACCES', 'EPERM', 'EROFS', 'EBUSY', 'ENOENT', 'EINVAL')
    await files.write(join(folder, 'cgroup.subtree_control'), `+${controller}`).catch(refused)
  }
}

/** A group that gives controllers to others may have no processes of its own. */
async function moveOut(files: CgroupFiles, folder: string): Promise<void> {
  const pids = (await files.read(join(folder, 'cgroup.procs'))).split('\n').filter(Boolean)
  if (pids.length === 0) return
  const leaf = join(folder, 'sidecar')
  await files.make(leaf)
  // A process that has ended meanwhile is gone either way.
  for (const pid of pids) await files.write(join(leaf, 'cgroup.procs'), pid).catch(unless('ESRCH'))
}
