/** Changes of a VM: each is committed together with every row that it alters, so that edges read flat rows only. */

import { commitPlanned, type Edit } from './edits.ts'
import { REPORTS, ROUTES, type Stored } from './record-kinds.ts'
import type { ReportRecord } from './records.ts'
import type { Document, Mutation, Store } from './store.ts'
import { joinRow, readVmParts, type VmParts } from './vm-parts.ts'

type Tables = Pick<Store, 'get' | 'list' | 'commit'>

export interface VmPlan {
  /** The documents that the change is about. */
  readonly edits: readonly Edit[]
  /** The VM's parts as they will be. */
  readonly after: Pick<VmParts, 'vm' | 'report' | 'grants' | 'bindings'>
}

export interface VmChange<Plan extends VmPlan> {
  readonly name: string
  /** Called again when another writer was faster. Throws to refuse. */
  readonly plan: (parts: VmParts) => Plan | Promise<Plan>
  /** What is to be committed with the change, an audit record above all. */
  readonly toExtra?: (plan: Plan) => readonly Mutation[]
}

/** Returns what was planned and the revision of each document that changed. @throws what `plan` throws */
export async function changeVm<Plan extends VmPlan>(store: Tables, { name, plan, toExtra }: VmChange<Plan>) {
  const planRows = async () => {
    const parts = await readVmParts(store, name)
    const planned = await plan(parts)
    return { planned, edits: [...planned.edits, ...(await rowEdits(store, parts, planned.after))] }
  }
  const { plan: done, revisions } = await commitPlanned(
    store,
    planRows,
    ({ planned }) => toExtra?.(planned) ?? [],
  )
  // Another writer's change of another part may have been read too early by one of the two: the second look mends it.
  if (revisions.size > 0) await refreshVm(store, name)
  return { plan: done.planned, revisions }
}

/** Brings the VM's rows in step with its parts. */
export async function refreshVm(store: Tables, name: string): Promise<void> {
  for (;;) {
    const { revisions } = await commitPlanned(store, async () => {
      const parts = await readVmParts(store, name)
      return { edits: await rowEdits(store, parts, parts) }
    })
    if (revisions.size === 0) return
  }
}

/** Writes what a host reports of a VM. A VM that was deleted meanwhile leaves nothing behind. */
export async function putReport(store: Tables, report: ReportRecord): Promise<void> {
  const record = REPORTS.parse(report)
  const key = REPORTS.keyOf(record)
  await changeVm(store, {
    name: record.name,
    plan: (parts) => {
      const before = parts.report && { value: parts.report.record, revision: parts.report.revision }
      const isKept = parts.vm !== undefined
      const stored: Stored<ReportRecord> | undefined = isKept ? { key, record, revision: 0 } : undefined
      return {
        edits: [{ key, before, after: isKept ? ({ ...record } as Document) : undefined }],
        after: { ...parts, report: stored },
      }
    },
  })
}

/** Every row that is to be written or deleted; rows of other VMs and bare addresses are left alone. */
async function rowEdits(store: Tables, parts: VmParts, after: VmPlan['after']): Promise<readonly Edit[]> {
  const wanted = new Map(after.bindings.map(({ record }) => [record.hostname, joinRow(record, after)]))
  const hostnames = new Set([...parts.rows.keys(), ...wanted.keys()])
  const edits = [...hostnames].map(async (hostname): Promise<Edit | undefined> => {
    const key = ROUTES.prefix + hostname
    const before = parts.rows.get(hostname) ?? (await store.get(key))
    const row = wanted.get(hostname)
    const isForeign = before !== undefined && before.value.vm !== parts.name && !wanted.has(hostname)
    return isForeign ? undefined : { key, before, after: row && { ...row }, isDerived: true }
  })
  return (await Promise.all(edits)).filter((edit) => edit !== undefined)
}
