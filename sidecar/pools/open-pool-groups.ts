/** Finds out which cgroups this machine has and lets us have, and opens our subtree in them. */

import { createHash } from 'node:crypto'
import { readFile, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Log } from '../../lib/log.ts'
import { SidecarError } from '../errors.ts'
import { findBlockDevice } from './block-device.ts'
import type { Dialect, DialectSettings } from './cgroup-dialect.ts'
import { CGROUP_FILES, type CgroupFiles, makeGroups } from './cgroup-files.ts'
import { createHybridDialect } from './cgroup-hybrid.ts'
import { type CgroupMounts, parseCgroupMounts } from './cgroup-mounts.ts'
import { createNoGroups } from './cgroup-none.ts'
import { CgroupPools, type OwnedPoolGroups } from './cgroup-pools.ts'
import { createV2Dialect, hasControllers, openDelegated } from './cgroup-v2.ts'

export interface PoolGroupDeps {
  readonly log: Log
  readonly files?: CgroupFiles
  /** What /proc/self/mountinfo says. */
  readonly mountInfo?: string
}

export interface PoolGroupSettings {
  /** A group below the mount of each hierarchy, as `landfall` or `system.slice/landfall.service`; `none` for no cgroups. */
  readonly root: string
  /** The folder of the data: its disk is the one that pools are limited on. */
  readonly folder: string
  /** Processes and threads of a pool; 8,192 when absent. */
  readonly pids?: number
}

const DEFAULT_PIDS = 8_192
const PATH = /^(?!\.)[A-Za-z0-9_.@:\\-]{1,200}(\/(?!\.)[A-Za-z0-9_.@:\\-]{1,200})*$/
const ADVICE =
  'VMs run without limits. Run as root, or as a systemd unit with Delegate=yes, KillMode=process and, from systemd ' +
  '254 on, DelegateSubgroup=sidecar, and set LANDFALL_CGROUP to the path of its cgroup.'

/** Without rights: groups that limit nothing, and a line in the log. @throws SidecarError pool_group_failed for an impossible `root` */
export async function openPoolGroups(
  deps: PoolGroupDeps,
  settings: PoolGroupSettings,
): Promise<OwnedPoolGroups> {
  const { log, files = CGROUP_FILES } = deps
  const { root } = settings
  if (root === 'none') return createNoGroups()
  if (!PATH.test(root)) {
    throw new SidecarError('pool_group_failed', { detail: `LANDFALL_CGROUP is no path of a cgroup: ${root}` })
  }
  try {
    const mountInfo = deps.mountInfo ?? (await readFile('/proc/self/mountinfo', 'utf8'))
    const dialect = await openTrees(files, parseCgroupMounts(mountInfo), await toPlan(settings))
    const pools = new CgroupPools(dialect, files)
    await pools.prepare()
    log.info({ kind: dialect.kind, trees: dialect.trees }, 'pools are limited by cgroups')
    return pools
  } catch (error) {
    log.warn({ err: error, cgroup: root }, `cgroups cannot be used here: ${ADVICE}`)
    return createNoGroups()
  }
}

interface Plan extends DialectSettings {
  readonly root: string
  /** `root`, and in it what is ours alone. */
  readonly path: string
}

async function toPlan({ root, folder, pids = DEFAULT_PIDS }: PoolGroupSettings): Promise<Plan> {
  // Two hosts on one machine, as in development, would take each other's VMs for their own leftovers.
  const own = createHash('sha256')
    .update(await realpath(folder))
    .digest('hex')
    .slice(0, 8)
  const device = await findBlockDevice(folder)
  return { root, path: join(root, own), pids, ...(device !== undefined && { device }) }
}

async function openTrees(files: CgroupFiles, { unified, v1 }: CgroupMounts, plan: Plan): Promise<Dialect> {
  if (unified === undefined) throw new Error('there is no mount of the v2 tree of cgroups')
  const controllers = await files.read(join(unified, 'cgroup.controllers'))
  if (hasControllers(controllers)) return openV2(files, unified, plan)
  const open = async (mount: string) => {
    const folder = join(mount, plan.path)
    await makeGroups(files, folder, mount)
    return folder
  }
  const [cpu, memory, pids, blkio] = ['cpu', 'memory', 'pids', 'blkio'].map((name) => v1.get(name))
  if (cpu === undefined || memory === undefined || pids === undefined) {
    throw new Error('neither the v2 tree nor v1 hierarchies have the controllers cpu, memory and pids')
  }
  const trees = {
    unified: await open(unified),
    cpu: await open(cpu),
    memory: await open(memory),
    pids: await open(pids),
    ...(blkio !== undefined && { blkio: await open(blkio) }),
  }
  return createHybridDialect(trees, plan)
}

async function openV2(files: CgroupFiles, mount: string, plan: Plan): Promise<Dialect> {
  const controllers = await openDelegated(files, mount, plan.root)
  if (!hasControllers(controllers))
    throw new Error(`the cgroup ${plan.root} has only "${controllers.trim()}"`)
  const dialect = createV2Dialect(join(mount, plan.path), { ...plan, controllers })
  const parent = dirname(join(mount, plan.path))
  for (const { file, value } of dialect.inner) await files.write(join(parent, file), value)
  return dialect
}
