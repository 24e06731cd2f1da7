/** What a host writes of snapshots: that one was taken or could not be, and those that it kept before a restore. */

import { commitPlanned, type Edit, toEdit } from '../records/edits.ts'
import { findSound, GRAVES, SNAPSHOTS, type Stored } from '../records/record-kinds.ts'
import type { SnapshotRecord } from '../records/vm-affairs.ts'
import type { Store, StoredDocument } from '../store/store.ts'
import { commitVm } from './vm-changes.ts'

type Tables = Pick<Store, 'get' | 'list' | 'commit'>

type SnapshotId = Pick<SnapshotRecord, 'vm' | 'vmCreatedAt' | 'id'>

/** What became of a snapshot that was wanted. */
export type SnapshotReport = SnapshotId &
  (
    | ({ readonly state: 'ready' } & Pick<Required<SnapshotRecord>, 'takenAt' | 'bytes'>)
    | ({ readonly state: 'failed' } & Pick<Required<SnapshotRecord>, 'message'>)
  )

/** The present that a restore put aside. */
export type KeptSnapshot = SnapshotId &
  Pick<Required<SnapshotRecord>, 'takenAt' | 'bytes'> &
  Pick<SnapshotRecord, 'label'>

/** Leaves a snapshot alone that was deleted meanwhile, or that is another VM's of the same name. */
export async function putSnapshotReport(store: Tables, report: SnapshotReport): Promise<void> {
  await commitPlanned(store, async () => {
    const document = await store.get(`${SNAPSHOTS.prefix}${report.vm}/${report.id}`)
    const before = document && findSound(SNAPSHOTS, document)
    return { edits: before?.record.vmCreatedAt === report.vmCreatedAt ? [toReported(before, report)] : [] }
  })
}

/**
 * Writes a snapshot that nobody asked for; again under the same id it writes nothing. One that was deleted is not
 * brought back while its grave is there, nor is one of a VM that is gone.
 */
export async function putKeptSnapshot(store: Tables, kept: KeptSnapshot): Promise<void> {
  const { vm: name, vmCreatedAt, id } = kept
  const key = `${SNAPSHOTS.prefix}${name}/${id}`
  await commitVm(store, {
    name,
    plan: async (parts) => {
      const known = await store.get(key)
      const graves = await Promise.all(
        [`${GRAVES.prefix}${name}/${vmCreatedAt}`, `${GRAVES.prefix}${name}/${vmCreatedAt}/${id}`].map(
          async (grave): Promise<Edit> => toPin(grave, await store.get(grave)),
        ),
      )
      const isGone = parts.vm?.record.createdAt !== vmCreatedAt || graves.some(({ before }) => before)
      if (isGone || known || !parts.vm) return { edits: [], after: parts }
      const { pool } = parts.vm.record
      const record = SNAPSHOTS.parse({ ...kept, pool, kind: 'kept', state: 'ready', createdAt: kept.takenAt })
      return { edits: [{ key, before: undefined, after: { ...record } }, ...graves], after: parts }
    },
  })
}

function toReported(before: Stored<SnapshotRecord>, report: SnapshotReport): Edit {
  const { message: _message, takenAt: _takenAt, bytes: _bytes, ...rest } = before.record
  return toEdit(before.key, { before, after: SNAPSHOTS.parse({ ...rest, ...report }) })
}

function toPin(key: string, before: StoredDocument | undefined): Edit {
  return { key, before, after: before?.value }
}
