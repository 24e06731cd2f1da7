/** What the sidecar writes to the table. Each call rejects when it did not arrive, and may then be made again. */

import type { Grave } from './burials.ts'
import type { VmCall } from './kept-vm.ts'
import type { VmStatus } from './vm-status.ts'

/** A snapshot of the VM that was made at `vmCreatedAt`. */
interface SnapshotName {
  readonly vm: string
  readonly vmCreatedAt: string
  readonly id: string
}

interface Taken {
  readonly takenAt: string
  readonly bytes: number
}

export type SnapshotNews = SnapshotName &
  (({ readonly state: 'ready' } & Taken) | { readonly state: 'failed'; readonly message: string })

export interface HostTable {
  /** How the VM of that name is that was made at `createdAt`. */
  readonly reportVm: (name: string, status: VmStatus, createdAt: string) => Promise<void>
  /** A call was carried out, or was in vain. */
  readonly clearCall: (vm: string, call: VmCall) => Promise<void>
  /** What became of a snapshot that was wanted. */
  readonly reportSnapshot: (news: SnapshotNews) => Promise<void>
  /** The present that a restore put aside. */
  readonly keepSnapshot: (kept: SnapshotName & Taken & { readonly label: string }) => Promise<void>
  /** The files of what was deleted are gone. */
  readonly clearGrave: (grave: Grave) => Promise<void>
}
