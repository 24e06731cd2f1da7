/** Waits until a snapshot is taken, and until one is put back. */

import { RoutingError } from '../errors.ts'
import { findRecord, REPORTS, SNAPSHOTS, type Stored, VMS } from '../records/record-kinds.ts'
import type { SnapshotRecord } from '../records/vm-affairs.ts'
import type { ApiContext } from './context.ts'
import { notFound } from './reads.ts'
import { readStatus } from './vm-view.ts'
import { type VmWait, waitForVm } from './vm-wait.ts'
import { comesTrue, type Wait } from './waiting.ts'

export interface SnapshotWait extends Pick<Wait, 'seconds' | 'signal'> {
  readonly made: Stored<SnapshotRecord>
}

/** The snapshot as it was taken. @throws RoutingError `api_snapshot_not_ready`, `api_not_found` */
export async function waitForSnapshot(
  context: ApiContext,
  { made, seconds, signal }: SnapshotWait,
): Promise<Stored<SnapshotRecord>> {
  const { vm, id } = made.record
  const name = `${vm}/${id}`
  let last = made
  const judge = async () => {
    const found = await findRecord(context.store, SNAPSHOTS, name)
    if (found === undefined) throw notFound(SNAPSHOTS, name)
    last = found
    if (found.record.state === 'failed') throw notReady(found.record)
    return found.record.state === 'ready' ? 'done' : 'waiting'
  }
  if (await comesTrue(context, { keys: [made.key], seconds, signal, judge })) return last
  throw notReady(last.record)
}

function notReady({ id, vm, state, message }: SnapshotRecord): RoutingError {
  const why =
    state === 'failed' ? `failed: ${message ?? 'its host does not say why'}` : 'is still to be taken'
  return new RoutingError('api_snapshot_not_ready', { detail: `The snapshot "${id}" of "${vm}" ${why}.` })
}

/**
 * A restore is done when what the disk was before is kept under its id; then the VM has to come up again.
 * @throws RoutingError `api_vm_not_ready`, `api_not_found`
 */
export async function waitForRestore(context: ApiContext, wait: VmWait): Promise<void> {
  const { vm, seconds, signal } = wait
  const { name, restore } = vm.record
  const endsAt = performance.now() + seconds * 1_000
  const kept = `${name}/${restore?.id}`
  const keys = [SNAPSHOTS.prefix + kept, REPORTS.prefix + name, VMS.prefix + name]
  const judge = async () => {
    if ((await context.store.get(VMS.prefix + name)) === undefined) throw notFound(VMS, name)
    const { report } = await readStatus(context, name)
    const hasFailed = report?.record.state === 'failed' && report.revision > vm.revision
    if (hasFailed) throw notRestored(name, report.record.message ?? 'its host does not say why')
    return (await findRecord(context.store, SNAPSHOTS, kept)) === undefined ? 'waiting' : 'done'
  }
  const isDone = await comesTrue(context, { keys, seconds, signal, judge })
  if (!isDone) throw notRestored(name, 'its host has not done it yet')
  const left = Math.max(0, (endsAt - performance.now()) / 1_000)
  await waitForVm(context, { vm, seconds: left, signal })
}

function notRestored(name: string, why: string): RoutingError {
  return new RoutingError('api_vm_not_ready', { detail: `"${name}" was not restored: ${why}.` })
}
