/** Takes what the table says of this host's pools and VMs, and hands each thing to whoever does it. */

import type { PlacedVm, PlacementReader } from '../routing/placement/placement-reader.ts'
import type { Burials } from './burials.ts'
import type { Keeper } from './keeper.ts'
import type { WantedVm } from './kept-vm.ts'
import type { PoolBook } from './pool-book.ts'
import type { SnapshotKeeper } from './snapshot-keeper.ts'

export interface OrderDeps {
  readonly keeper: Keeper
  readonly pools: PoolBook
  readonly snapshots: SnapshotKeeper
  readonly burials: Burials
  /** The platform's domain. */
  readonly domain: string
}

export function createOrders({ keeper, pools, snapshots, burials, domain }: OrderDeps): PlacementReader {
  return {
    setPool: (pool) => pools.set(pool),
    dropPool: (name) => pools.drop(name),
    want: (vm) => keeper.want(toWanted(vm, domain)),
    release: (name) => keeper.release(name),
    remove: (name) => keeper.release(name),
    compareReport: (name, report) => keeper.compareReport(name, report),
    snapshots: (_vm, wanted) => {
      for (const { id, vm: name, vmCreatedAt: createdAt } of wanted) {
        snapshots.want({ id, vm: { name, createdAt } })
      }
    },
    bury: (grave) => {
      const isKept = keeper.find(grave.vm)?.createdAt === grave.vmCreatedAt
      if (isKept && grave.snapshot === undefined) keeper.release(grave.vm)
      burials.bury(grave)
    },
  }
}

function toWanted({ source, ...vm }: PlacedVm, domain: string): WantedVm {
  return {
    ...vm,
    hostname: `${vm.name}.${domain}`,
    ...(source && {
      source: {
        vm: { name: source.vm, createdAt: source.createdAt },
        ...(source.snapshot !== undefined && { snapshot: source.snapshot }),
      },
    }),
  }
}
