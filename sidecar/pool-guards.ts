/** Holds each pool to its disk quota, and helps those that are short of memory. */

import type { Log } from '../lib/log.ts'
import type { Disks, IsLeaving } from './disks/disks.ts'
import type { Driver } from './driver.ts'
import type { Keeper, KeptRunningVm } from './keeper.ts'
import type { PoolBook } from './pool-book.ts'
import {
  type DiskGovernor,
  type DiskGovernorDeps,
  type GovernedPool,
  startDiskGovernor,
} from './pools/disk-governor.ts'
import { startPressureLadder } from './pools/pool-pressure.ts'
import type { PressedVm } from './pools/vm-watch.ts'
import type { Balloon } from './qemu/balloon.ts'
import { DEFAULT_MEMORY_BYTES, type RunningVm } from './vmm.ts'

export interface GuardDeps {
  readonly driver: Pick<Driver, 'disks' | 'groups' | 'balloon'>
  readonly keeper: Pick<Keeper, 'listRunning'>
  readonly pools: Pick<PoolBook, 'list'>
  /** Whose files are only kept for a while: they count for no pool. */
  readonly isLeaving: IsLeaving
  readonly log: Log
}

export interface PoolGuards extends AsyncDisposable {
  /** For a VM that has just come up, whose disk may else write freely until the next look. */
  look(pool: string): Promise<void>
}

/** Nothing is guarded where VMs are processes in folders. Ends with disposal. */
export function startPoolGuards(deps: GuardDeps): PoolGuards {
  const { driver, keeper, log } = deps
  const started = new AsyncDisposableStack()
  const { disks, balloon, groups } = driver
  const governor = disks && started.use(startGovernor(disks, deps))
  if (balloon) {
    const runs = new WeakMap<RunningVm, string>()
    const vms = () => keeper.listRunning().map((kept) => toPressed(kept, { balloon, runs }))
    started.use(startPressureLadder({ groups, vms, log }))
  }
  return {
    look: async (pool) => governor?.look(pool),
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  }
}

function startGovernor(disks: Disks, { keeper, pools, isLeaving, log }: GuardDeps): DiskGovernor {
  const counted: DiskGovernorDeps['disks'] = {
    measurePool: (pool) => disks.measurePool(pool, isLeaving),
    limitWrites: (vm, limit) => disks.limitWrites(vm, limit),
  }
  return startDiskGovernor({ disks: counted, pools: () => listGoverned(keeper, pools), log })
}

function listGoverned(keeper: GuardDeps['keeper'], pools: GuardDeps['pools']): readonly GovernedPool[] {
  const running = keeper.listRunning()
  return pools.list().map(({ name, diskBytes }) => ({
    pool: name,
    diskBytes,
    vms: running.filter(({ wanted }) => wanted.pool === name).map(({ wanted }) => wanted),
  }))
}

interface Pressing {
  readonly balloon: Balloon
  /** A name for each run. */
  readonly runs: WeakMap<RunningVm, string>
}

function toPressed({ wanted, running }: KeptRunningVm, { balloon, runs }: Pressing): PressedVm {
  const run = runs.get(running) ?? crypto.randomUUID()
  runs.set(running, run)
  return {
    run,
    name: wanted.name,
    pool: wanted.pool,
    memoryBytes: wanted.memoryBytes ?? DEFAULT_MEMORY_BYTES,
    canSuspend: wanted.suspendAfterSeconds !== undefined,
    sampleBalloon: async () => (await balloon.find(wanted))?.bytes,
    setBalloon: (bytes) => balloon.set(wanted, bytes),
    sampleActivity: () => running.sampleActivity(),
    suspend: () => running.suspend(),
  }
}
