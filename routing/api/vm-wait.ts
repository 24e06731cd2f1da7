/** Waits until a VM is as it is wanted: with a URL that answers, or stopped; or until it has done what it was called to. */

import { RoutingError } from '../errors.ts'
import { CALLS, findRecord, REPORTS, ROUTES, type Stored, VMS } from '../records/record-kinds.ts'
import type { VmRecord } from '../records/records.ts'
import type { CallRecord } from '../records/vm-affairs.ts'
import type { ApiContext } from './context.ts'
import { notFound } from './reads.ts'
import { isAtRest, isUp, readStatus, type VmStatus } from './vm-view.ts'
import { comesTrue, type Verdict, type Wait } from './waiting.ts'

export interface VmWait extends Pick<Wait, 'seconds' | 'signal'> {
  /** The VM as it was written: a failure that was reported before says nothing of it. */
  readonly vm: Stored<VmRecord>
}

/** @throws RoutingError `api_vm_not_ready` when time runs out or the host reports a failure, `api_not_found` */
export async function waitForVm(context: ApiContext, { vm, seconds, signal }: VmWait): Promise<void> {
  const { name } = vm.record
  const keys = [VMS.prefix + name, REPORTS.prefix + name, `${ROUTES.prefix}${name}.${context.domain}`]
  const wait = { keys, seconds, signal, judge: () => judge(context, vm) }
  if (!(await comesTrue(context, wait))) throw notReady(vm, await readStatus(context, name))
}

export interface CallWait extends VmWait {
  readonly call: CallRecord
}

/**
 * Waits until the host is done with the call, for better or worse. `vm.revision` is that of the call.
 * @throws RoutingError `api_vm_not_ready` when time runs out or the VM was not suspended, `api_not_found`
 */
export async function waitForCall(context: ApiContext, { call, vm, ...wait }: CallWait): Promise<void> {
  const { name } = vm.record
  const key = CALLS.prefix + name
  const isDone = async () => (await context.store.get(key))?.value.id !== call.id
  const isOver = await comesTrue(context, {
    ...wait,
    keys: [key],
    judge: async () => ((await isDone()) ? 'done' : 'waiting'),
  })
  if (!isOver) throw notReady(vm, await readStatus(context, name))
  if ((await findRecord(context.store, VMS, name)) === undefined) throw notFound(VMS, name)
  if (call.what !== 'suspend') return
  const { report } = await readStatus(context, name)
  // One that was suspended, and woken since, has reported that.
  if (report === undefined || !isUp(report) || report.revision > vm.revision) return
  const detail = `"${name}" was not suspended: its host "${report.record.host}" reports that it still runs.`
  throw new RoutingError('api_vm_not_ready', { detail })
}

async function judge(context: ApiContext, wanted: Stored<VmRecord>): Promise<Verdict> {
  const { name, state } = wanted.record
  if ((await context.store.get(VMS.prefix + name)) === undefined) throw notFound(VMS, name)
  const status = await readStatus(context, name)
  const { report, isReady, isServed } = status
  if (report?.record.state === 'failed' && report.revision > wanted.revision) throw notReady(wanted, status)
  if (state === 'stopped') return isAtRest(report) ? 'done' : 'waiting'
  if (isReady) return 'done'
  return isServed ? 'behind' : 'waiting'
}

function notReady({ record: { name, state } }: Stored<VmRecord>, status: VmStatus): RoutingError {
  return new RoutingError('api_vm_not_ready', { detail: `"${name}": ${reasonOf(state, status)}.` })
}

function reasonOf(wanted: VmRecord['state'], { report, row, isServed }: VmStatus): string {
  if (report === undefined) return 'no host has reported it yet'
  const { host, state, message } = report.record
  if (state === 'failed')
    return `its host "${host}" reports that it failed: ${message ?? 'it does not say why'}`
  if (state !== wanted || wanted === 'stopped') return `its host "${host}" reports that it is ${state}`
  if (row !== undefined && !isServed) return `it runs, but nothing listens on its port ${row.record.port}`
  return 'it runs, but this edge does not know of it yet'
}
