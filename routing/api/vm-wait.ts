/** Waits until a VM is as it is wanted: running with a URL that answers, or stopped. */

import { setTimeout as sleep } from 'node:timers/promises'
import { RoutingError } from '../errors.ts'
import { REPORTS, ROUTES, type Stored, VMS } from '../records/record-kinds.ts'
import type { VmRecord } from '../records/records.ts'
import type { ApiContext } from './context.ts'
import { notFound } from './reads.ts'
import { isUp, readStatus, type VmStatus } from './vm-view.ts'

export interface VmWait {
  /** The VM as it was written: a failure that was reported before says nothing of it. */
  readonly vm: Stored<VmRecord>
  readonly seconds: number
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal
}

/** The edge's own table is a few milliseconds behind the store, and has no bell. */
const TABLE_POLL_MS = 10
/** It may also hold on to what it has until an operator says more. */
const MAX_TABLE_POLL_MS = 500
/** Below the 120 seconds that the edge by default waits for an answer to begin. */
const MAX_WAIT_MS = 115_000

/** @throws RoutingError `api_vm_not_ready` when time runs out or the host reports a failure, `api_not_found` */
export async function waitForVm(context: ApiContext, { vm, seconds, signal }: VmWait): Promise<void> {
  const timeout = new AbortController()
  const timer = setTimeout(() => timeout.abort(), Math.min(seconds * 1_000, MAX_WAIT_MS))
  try {
    if (await comesTrue(context, vm, AbortSignal.any([signal, timeout.signal]))) return
    throw notReady(vm, await readStatus(context, vm.record.name))
  } finally {
    clearTimeout(timer)
  }
}

async function comesTrue(context: ApiContext, vm: Stored<VmRecord>, isOver: AbortSignal): Promise<boolean> {
  for await (const _change of changesOf(context, vm.record.name, isOver)) {
    let verdict = await judge(context, vm)
    for (let pollMs = TABLE_POLL_MS; verdict === 'behind' && !isOver.aborted; pollMs *= 2) {
      await sleep(Math.min(pollMs, MAX_TABLE_POLL_MS), undefined, { signal: isOver }).catch(() => {})
      verdict = await judge(context, vm)
    }
    if (verdict === 'done') return true
  }
  return false
}

/** Yields at once, and then at each change of the VM, its report or its row, until the signal aborts. */
async function* changesOf(
  { store, domain }: ApiContext,
  name: string,
  signal: AbortSignal,
): AsyncIterable<void> {
  const keys = [VMS.prefix + name, REPORTS.prefix + name, `${ROUTES.prefix}${name}.${domain}`]
  do {
    const { revision, mark } = await store.list(REPORTS.prefix, { limit: 1 })
    yield
    for await (const event of store.watch(revision, signal, mark)) {
      if (event.kind === 'resync') break
      if (event.changes.some(({ key }) => keys.includes(key))) yield
    }
  } while (!signal.aborted)
}

/** `behind`: the store has it, and this edge is about to. */
async function judge(context: ApiContext, wanted: Stored<VmRecord>): Promise<'done' | 'behind' | 'waiting'> {
  const { name, state } = wanted.record
  if ((await context.store.get(VMS.prefix + name)) === undefined) throw notFound(VMS, name)
  const status = await readStatus(context, name)
  const { report, isReady, isServed } = status
  if (report?.record.state === 'failed' && report.revision > wanted.revision) throw notReady(wanted, status)
  if (state === 'stopped') return isUp(report) ? 'waiting' : 'done'
  if (isReady) return 'done'
  return isUp(report) && isServed ? 'behind' : 'waiting'
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
