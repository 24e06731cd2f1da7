/** Changes of a VM on request: rights, preconditions, and one commit with its rows and audit records. */

import type { FastifyRequest } from 'fastify'
import { RoutingError } from '../errors.ts'
import { type Stored, VMS } from '../records/record-kinds.ts'
import type { Verb, VmRecord } from '../records/records.ts'
import { commitVm, type VmCommitted, type VmPlan } from '../vms/vm-changes.ts'
import type { VmParts } from '../vms/vm-parts.ts'
import { type Caller, checkMay, may } from './caller.ts'
import { auditsOf, logChange } from './changes.ts'
import type { ApiContext } from './context.ts'
import { checkWrite, parsePreconditions } from './preconditions.ts'
import { notFound } from './reads.ts'

export interface PlannedWrite extends VmPlan {
  /** What If-Match and If-None-Match are about; 0 when it does not exist. */
  readonly target: { readonly key: string; readonly current: number }
  /** For the audit records. */
  readonly pool: string | undefined
}

export interface VmWrite<Plan extends PlannedWrite> {
  readonly vm: string
  /** Checks rights and what is asked for; called again when another writer was faster. */
  readonly plan: (parts: VmParts) => Plan | Promise<Plan>
}

export interface VmWritten<Plan> extends VmCommitted<Plan> {
  /** The target's, as it is now. */
  readonly revision: number
}

/** Honours If-Match and If-None-Match. @throws RevisionConflict, RoutingError `api_name_taken`, and what `plan` throws */
export async function writeVm<Plan extends PlannedWrite>(
  request: FastifyRequest,
  context: ApiContext,
  { vm, plan }: VmWrite<Plan>,
): Promise<VmWritten<Plan>> {
  const preconditions = parsePreconditions(request.headers)
  const changed = await commitVm(context.store, {
    name: vm,
    plan: async (parts) => {
      const planned = await plan(parts)
      checkWrite(preconditions, planned.target)
      return planned
    },
    toExtra: ({ edits, pool }) => auditsOf(request, context, { edits, pool }),
  })
  const { key, current } = changed.plan.target
  const revision = changed.revisions.get(key) ?? current
  if (changed.revisions.size > 0) logChange(request, context, { key, revision })
  return { ...changed, revision }
}

/** The VM, if the caller may. @throws RoutingError `api_not_found` where it may not even know of it, `api_forbidden` */
export function getAllowed(
  caller: Caller,
  verb: Verb,
  { name, vm }: Pick<VmParts, 'name' | 'vm'>,
): Stored<VmRecord> {
  const pool = vm?.record.pool
  const isKnown = vm !== undefined && (may(caller, 'read', pool) || may(caller, verb, pool))
  if (!isKnown) throw notFound(VMS, name)
  checkMay(caller, verb, pool)
  return vm
}

/** The same for what a body names. @throws RoutingError `api_vm_unknown` with the field `/vm`, `api_forbidden` */
export function getNamed(caller: Caller, verb: Verb, parts: Pick<VmParts, 'name' | 'vm'>): Stored<VmRecord> {
  try {
    return getAllowed(caller, verb, parts)
  } catch (error) {
    if (!(error instanceof RoutingError) || error.code !== 'api_not_found') throw error
    const detail = `There is no VM "${parts.name}".`
    throw new RoutingError('api_vm_unknown', { detail, context: { field: '/vm' }, cause: error })
  }
}
