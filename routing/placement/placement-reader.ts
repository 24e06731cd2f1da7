/** What a host is told of its own: pools, VMs with all that belongs to them, snapshots to take, files to delete. */

import type { PoolRecord, ReportRecord, VmRecord } from '../records/records.ts'
import type { CallRecord, GraveRecord, SnapshotRecord } from '../records/vm-affairs.ts'

/** A pool that is placed on this host. */
export type PlacedPool = Pick<
  PoolRecord,
  'name' | 'cpuMillis' | 'memoryBytes' | 'diskBytes' | 'ioBytesPerSecond' | 'owner'
>

/** As much of a VM's own record as its host needs. */
export type PlacedRecord = Omit<VmRecord, 'ports' | 'comment'>

/** Who may connect to a VM over the network of their host, and to which of its ports. */
export interface PlacedPeer {
  /** It may be a VM of another host, which then cannot reach this one. */
  readonly vm: string
  /** In ascending order. */
  readonly ports: readonly number[]
}

/** A VM whose pool is placed on this host, as it should be. */
export interface PlacedVm extends Omit<PlacedRecord, 'port'> {
  /** Lines for root's authorized_keys: of the pool's owner and of users with a `root` grant, by id or address. Sorted, each once. */
  readonly authorizedKeys: readonly string[]
  /** By name; each VM once. */
  readonly peers: readonly PlacedPeer[]
  /** What it is to do once, until `clearCall`. */
  readonly call?: Pick<CallRecord, 'id' | 'what' | 'at'>
}

/** One that is to be taken: its record is `wanted`. */
export type PlacedSnapshot = Pick<SnapshotRecord, 'id' | 'vm' | 'vmCreatedAt' | 'label' | 'createdAt'>

/** Every call is synchronous, returns at once and does not throw. */
export interface PlacementReader {
  /** The pool is placed on this host, and these are its limits. Told before its VMs. */
  setPool(pool: PlacedPool): void
  /** The pool is no longer placed here, or is gone. Its VMs were released before. */
  dropPool(name: string): void
  /** The VM is placed on this host, and this is how it should be. Another `createdAt` makes it another VM. */
  want(vm: PlacedVm): void
  /** The VM is no longer placed on this host, or is no longer known: its files stay. */
  release(name: string): void
  /** The VM was deleted. Its files stay until its grave says so. */
  remove(name: string): void
  /** What the store holds as this host's report of a VM; undefined for nothing. */
  compareReport(name: string, report: ReportRecord | undefined): void
  /** All snapshots of a VM that are still to be taken, oldest first. The empty list is told after one that was not. */
  snapshots(vm: string, wanted: readonly PlacedSnapshot[]): void
  /**
   * A VM with all its snapshots, or one snapshot, was deleted, and this host has the files. Told again after each
   * reload, until the grave is cleared: nothing may depend on how often.
   */
  bury(grave: GraveRecord): void
}
