/** The edits that lead a host name to a VM, whoever had it before. */

import { type Edit, toEdit } from '../records/edits.ts'
import { BINDINGS } from '../records/record-kinds.ts'
import type { RouteRecord } from '../records/records.ts'
import type { VmPlan } from '../vms/vm-changes.ts'
import { joinRow, type VmParts } from '../vms/vm-parts.ts'
import { toNewStored, toRawDeletion } from '../vms/vm-plans.ts'
import type { Caller } from './caller.ts'
import type { ApiContext } from './context.ts'
import { checkRoom, checkTakeable, findHolder, type Holder } from './hostnames.ts'

export interface WantedBinding {
  /** Canonical. */
  readonly hostname: string
  readonly vm: string
  /** The VM's default port when absent. */
  readonly port?: number
}

export interface Binding {
  readonly plan: VmPlan
  readonly row: RouteRecord
  /** Who had the name before, the VM itself included. */
  readonly holder: Holder | undefined
}

/** `parts` are those of the VM. @throws RoutingError `api_name_taken`, RecordInvalid */
export async function planBinding(
  context: ApiContext,
  caller: Caller,
  { parts, wanted }: { readonly parts: VmParts; readonly wanted: WantedBinding },
): Promise<Binding> {
  const holder = await findHolder(context.store, wanted.hostname)
  const { hostname, vm, port } = wanted
  const binding = toNewStored({ vm, hostname, ...(port !== undefined && { port }) })
  const known = parts.bindings.find(({ key }) => key === binding.key)
  const isOthers = holder !== undefined && !isHeldBy(holder, parts.name, known !== undefined)
  if (isOthers) checkTakeable(context, caller, holder)
  if (known === undefined) checkRoom(parts, context)
  const others = parts.bindings.filter((stored) => stored !== known)
  const after = { ...parts, bindings: [...others, binding] }
  const row = joinRow(binding.record, after)
  if (row === undefined) throw new TypeError('only a VM that is there can have host names')
  return {
    plan: {
      edits: [
        toEdit(binding.key, { before: known, after: binding.record }),
        ...(isOthers ? await unbind(context, holder) : []),
      ],
      after,
      ...(isOthers && { takes: [holder.row] }),
    },
    row,
    holder,
  }
}

/** The end of the binding that a row comes from. */
export async function unbind(
  { store }: Pick<ApiContext, 'store'>,
  { record }: Holder,
): Promise<readonly Edit[]> {
  if (record?.vm === undefined) return []
  const binding = await store.get(`${BINDINGS.prefix}${record.vm}/${record.hostname}`)
  return binding ? [toRawDeletion(binding)] : []
}

/** A row that cannot be read is the VM's when its binding says so. */
function isHeldBy({ record }: Holder, vm: string, isBound: boolean): boolean {
  return record === undefined ? isBound : record.vm === vm
}
