/** What the sidecar asks of disks: layers that are never overwritten, served to each VMM by a process of their own. */

import type { Jail } from '../launch.ts'
import type { VmId } from '../vm-id.ts'

export interface DiskPlan {
  readonly pool: string
  /** A root file system as a raw image that never changes, or the disk of another VM of the pool. */
  readonly from:
    | { readonly kind: 'template'; readonly file: string }
    | { readonly kind: 'vm'; readonly vm: VmId; readonly snapshot?: string }
  readonly sizeBytes: number
}

/** Where the process that serves a disk runs. */
export interface DiskRun {
  /** Ours and there; the process makes its sockets in folders in it. */
  readonly folder: string
  /** Files that take process ids (`cgroup.procs`). */
  readonly groups: readonly string[]
  /** Who it runs as; as we do when absent. */
  readonly jail?: Pick<Jail, 'uid' | 'gid'>
}

export interface OpenDisk {
  /** A vhost-user-blk socket. */
  readonly socket: string
  /** Settles when the process that serves it has ended; never rejects. */
  readonly exited: Promise<void>
  /** Writes everything out and ends the process; what does not end is killed. */
  close(): Promise<void>
  /** Lets it serve on without us. */
  detach(): void
}

export interface DiskPoint {
  readonly takenAt: string
  /** What the disk has taken on this host by then, templates aside. */
  readonly bytes: number
}

/** Whether the VM of this key (`keyOfVm`), or a snapshot of it, is deleted, and its files are kept only for a while. */
export type IsLeaving = (key: string, snapshot?: string) => boolean

/** Calls about one VM are carried out one after the other. */
export interface Disks {
  /**
   * Makes the VM's disk; leaves the one that it has. Never copies data.
   * @throws SidecarError disk_source_unknown, disk_chain_long, disk_failed
   */
  create(vm: VmId, plan: DiskPlan): Promise<void>
  /** Serves the disk. @throws SidecarError disk_failed */
  open(vm: VmId, run: DiskRun): Promise<OpenDisk>
  /** The process that an earlier one of ours left serving; undefined when there is none. */
  adopt(vm: VmId, run: DiskRun): Promise<OpenDisk | undefined>
  /** Larger only. A guest that runs sees it from its next start on: QEMU 7.2 cannot tell it. */
  grow(vm: VmId, sizeBytes: number): Promise<void>
  /** Keeps the disk as it is at this moment, of a running VM too. Again under one id: what is there. @throws SidecarError disk_chain_long, disk_failed */
  takeSnapshot(vm: VmId, id: string): Promise<DiskPoint>
  /** True when that restore was the last one carried out: it would do nothing. */
  isRestored(vm: VmId, snapshots: { readonly id: string; readonly keepAs: string }): Promise<boolean>
  /** The present becomes the snapshot `keepAs`, and the disk is as `id` was. The VM must not run. @throws SidecarError disk_source_unknown */
  restore(vm: VmId, snapshots: { readonly id: string; readonly keepAs: string }): Promise<void>
  /** Layers that nothing else needs go. */
  deleteSnapshot(vm: VmId, id: string): Promise<void>
  listSnapshots(vm: VmId): Promise<readonly string[]>
  /** Deletes the disk with its snapshots; layers that others stand on stay. */
  remove(vm: VmId): Promise<void>
  /** Allocated by all disks of the pool and their snapshots, but for those on their way out; each layer counts once. */
  measurePool(pool: string, isLeaving?: IsLeaving): Promise<number>
  /** Allocated by layers that this VM alone stands on. */
  measure(vm: VmId): Promise<number>
  /** The writes of a served disk; undefined: no limit. */
  limitWrites(vm: VmId, limit: { readonly bytesPerSecond: number } | undefined): Promise<void>
}
