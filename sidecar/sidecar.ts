/** Puts the sidecar together: orders come in on one side, the table is told on the other, VMs run in between. */

import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../lib/log.ts'
import type { PlacementReader } from '../routing/placement/placement-reader.ts'
import { type Burials, startBurials } from './burials.ts'
import type { Disks, IsLeaving } from './disks/disks.ts'
import type { Driver } from './driver.ts'
import { SidecarError } from './errors.ts'
import type { HostTable } from './host-table.ts'
import { type Keeper, startKeeper } from './keeper.ts'
import type { RestoreWish, WantedVm } from './kept-vm.ts'
import { SweepGate, startSweep } from './leftover-sweep.ts'
import type { LifecycleVmm } from './lifecycle.ts'
import { type MeteringDeps, startMetering } from './metering.ts'
import { createOrders } from './orders.ts'
import { PoolBook } from './pool-book.ts'
import { type PoolGuards, startPoolGuards } from './pool-guards.ts'
import { type SnapshotKeeper, startSnapshotKeeper } from './snapshot-keeper.ts'
import { createUsageMarks } from './usage-marks.ts'
import type { VmSpec } from './vmm.ts'

export interface SidecarDeps {
  readonly driver: Driver
  readonly table: HostTable
  readonly meter: MeteringDeps['meter']
  readonly log: Log
}

export interface SidecarSettings {
  /** The platform's. */
  readonly domain: string
  /** The data folder, whose disk graces depend on. */
  readonly folder: string
  /** Between a deletion and the end of the files. */
  readonly graceMs: number
}

export interface Sidecar extends AsyncDisposable {
  readonly orders: PlacementReader
  /** Settles when every VM wanted so far was tried once. */
  attempted(): Promise<void>
  /** Ends what earlier processes left for VMs that are not here any more, as soon as `isLoaded`. Once. */
  sweep(isLoaded: () => boolean): void
}

/** Of the disk: with less room, files of what was deleted go at once. */
const SHORT_SHARE = 0.1

/** Disposal lets go of the VMs as the driver says. */
export async function startSidecar(deps: SidecarDeps, settings: SidecarSettings): Promise<Sidecar> {
  await using started = new AsyncDisposableStack()
  const { driver, table, meter, log } = deps
  const { vmm, groups, disks } = driver
  const pools = started.use(new PoolBook({ groups, log }))
  const running: { guards?: PoolGuards } = {}
  const onUp = (pool: string) => void running.guards?.look(pool).catch(() => undefined)
  const gate = new SweepGate()
  const snapshots = started.use(
    startSnapshotKeeper({
      take: async (vm, id) => getDisks(disks).takeSnapshot(vm, id),
      report: table.reportSnapshot,
      reportKept: table.keepSnapshot,
      log,
    }),
  )
  const keeper = started.use(startVms(deps, { pools, onUp, gate, snapshots }))
  const burials = started.use(startGraves(deps, { keeper, settings }))
  const marks = createUsageMarks(join(settings.folder, 'usage-marks.json'))
  const isLeaving: IsLeaving = (key, snapshot) => burials.has(key, snapshot)
  running.guards = started.use(startPoolGuards({ driver, keeper, pools, isLeaving, log }))
  started.use(startMetering({ vmm, log, meter, marks, findPool: (vm) => keeper.find(vm)?.pool }))
  const orders = createOrders({ keeper, pools, snapshots, burials, domain: settings.domain })
  const owned = started.move()
  return {
    orders,
    attempted: () => keeper.attempted(),
    sweep: (isLoaded) =>
      void owned.use(
        startSweep({
          isLoaded,
          listKnown: () => keeper.list(),
          hasGraves: () => burials.hasAny,
          sweep: (known) => gate.run(known, () => vmm.sweep(known)),
          log,
        }),
      ),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

interface GraveParts {
  readonly keeper: Keeper
  readonly settings: SidecarSettings
}

function startGraves({ driver, table, log }: SidecarDeps, { keeper, settings }: GraveParts): Burials {
  const { vmm, disks } = driver
  return startBurials(
    {
      isKept: ({ name, createdAt }) => keeper.find(name)?.createdAt === createdAt,
      remove: (vm) => vmm.remove(vm),
      deleteSnapshot: async (vm, id) => disks?.deleteSnapshot(vm, id),
      clear: table.clearGrave,
      isShort: () => isShort(settings.folder),
      log,
    },
    settings,
  )
}

interface VmParts {
  readonly pools: PoolBook
  /** A VM of the pool runs now. */
  readonly onUp: (pool: string) => void
  readonly gate: SweepGate
  readonly snapshots: Pick<SnapshotKeeper, 'keep'>
}

function startVms({ driver, table, log }: SidecarDeps, parts: VmParts): Keeper {
  const { vmm, disks, atEnd } = driver
  return startKeeper(
    {
      vmm: inPools(vmm, parts),
      report: table.reportVm,
      clearCall: table.clearCall,
      restore: (vm, wish, rest) => putBack(getDisks(disks), { vm, wish, rest, snapshots: parts.snapshots }),
      log,
    },
    { atEnd },
  )
}

/** A VM starts when its pool's limits were set, or that was tried. */
function inPools(vmm: LifecycleVmm, { pools, onUp, gate }: VmParts): LifecycleVmm {
  // Whoever keeps the VM knows of it a moment after this.
  const isUp = (spec: VmSpec) => setImmediate(() => onUp(spec.pool))
  return {
    start: async (spec, signal) => {
      await Promise.all([pools.attempted(spec.pool), gate.pass(spec)])
      const vm = await vmm.start(spec, signal)
      isUp(spec)
      return vm
    },
    adopt: async (spec) => {
      await gate.pass(spec)
      const vm = await vmm.adopt(spec)
      if (vm) isUp(spec)
      return vm
    },
    isSuspended: (vm) => vmm.isSuspended(vm),
    forget: (vm) => vmm.forget(vm),
  }
}

interface PutBack {
  readonly vm: WantedVm
  readonly wish: RestoreWish
  readonly rest: () => Promise<void>
  readonly snapshots: VmParts['snapshots']
}

/** Carried out once, however often it is asked for; the table hears of what was put aside until it was deleted. */
async function putBack(disks: Disks, { vm, wish, rest, snapshots }: PutBack): Promise<void> {
  const keepAs = wish.id
  const step = { id: wish.snapshot, keepAs }
  // Memory of before would destroy the disk that is put back.
  if (!(await disks.isRestored(vm, step))) await rest()
  await disks.restore(vm, step)
  if (!(await disks.listSnapshots(vm)).includes(keepAs)) return
  const { takenAt, bytes } = await disks.takeSnapshot(vm, keepAs)
  const label = `before the restore of ${wish.snapshot}`
  snapshots.keep({ vm: vm.name, vmCreatedAt: vm.createdAt, id: keepAs, takenAt, bytes, label })
}

/** @throws SidecarError disk_source_unknown */
function getDisks(disks: Disks | undefined): Disks {
  if (disks) return disks
  const detail = 'The VMs of this host are processes in folders, which have no snapshots.'
  throw new SidecarError('disk_source_unknown', { detail })
}

async function isShort(folder: string): Promise<boolean> {
  const { bavail, blocks } = await statfs(folder)
  return bavail < blocks * SHORT_SHARE
}
