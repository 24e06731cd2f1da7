/** What writing a route takes: rights, names that are taken, and the documents of one commit. */

import type { FastifyRequest } from 'fastify'
import { RoutingError } from '../errors.ts'
import { commitPlanned, type Edit } from '../records/edits.ts'
import { findRecord, POOLS, ROUTES, type Stored } from '../records/record-kinds.ts'
import type { Address, RouteRecord, Visibility } from '../records/records.ts'
import type { VmParts } from '../vms/vm-parts.ts'
import { findNamesake, toDerived } from '../vms/vm-plans.ts'
import { type Binding, planBinding, unbind, type WantedBinding } from './binding-plans.ts'
import { checkMay, may } from './caller.ts'
import { auditsOf, type Changed, logChange } from './changes.ts'
import type { ApiContext } from './context.ts'
import { checkProven, findCustomDomain, leadDomain } from './domain-plans.ts'
import { checkRoutable, checkTakeable, findHolder, type Holder, placeOf, taken } from './hostnames.ts'
import { checkWrite, parsePreconditions } from './preconditions.ts'
import { notFound } from './reads.ts'
import { getNamed, type PlannedWrite, writeVm } from './vm-writes.ts'

/** @throws RoutingError `api_vm_unknown`, `api_name_taken`, `api_domain_unproven` and others */
export async function writeBinding(
  request: FastifyRequest,
  context: ApiContext,
  wanted: WantedBinding,
): Promise<Changed<RouteRecord>> {
  const { plan, revision } = await writeVm(request, context, {
    vm: wanted.vm,
    plan: (parts) => planRoute(request, context, { parts, wanted }),
  })
  const { target, row, holder } = plan
  const after = { key: target.key, record: row, revision }
  return { before: storedOf(holder), after, isNew: target.current === 0 }
}

type RoutePlan = PlannedWrite & Pick<Binding, 'row' | 'holder'>

async function planRoute(
  { caller }: FastifyRequest,
  context: ApiContext,
  { parts, wanted }: { readonly parts: VmParts; readonly wanted: WantedBinding },
): Promise<RoutePlan> {
  const { hostname } = wanted
  const { pool } = getNamed(caller, 'write', parts).record
  const key = ROUTES.prefix + hostname
  if (findNamesake(hostname, context.domain)?.vm === parts.name) {
    const holder = await findHolder(context.store, hostname)
    const row = getOwnRow(wanted, holder)
    const target = { key, current: holder?.row.revision ?? 0 }
    return { edits: [], after: parts, target, pool, row, holder }
  }
  checkRoutable(context, caller, hostname)
  const custom = await findCustomDomain(context, hostname)
  if (placeOf(hostname, context.domain) === 'outside') await checkProven(context, caller, { custom, wanted })
  const { plan, row, holder } = await planBinding(context, caller, { parts, wanted })
  const more = custom?.record.state === 'proven' ? await leadDomain(context, custom, wanted) : []
  const target = { key, current: holder?.row.revision ?? 0 }
  return { ...plan, edits: [...plan.edits, ...more], target, pool, row, holder }
}

/** A VM's own names are there by themselves; writing one as it is changes nothing. @throws RoutingError `api_name_reserved` */
function getOwnRow({ vm, hostname, port }: WantedBinding, holder: Holder | undefined): RouteRecord {
  const row = holder?.record
  if (row?.vm === vm && (port === undefined || port === row.port)) return row
  const detail = `"${hostname}" is the own name of the VM "${vm}": PUT /v1/vms/${vm}/ports/${port ?? '<port>'} is what sets it.`
  throw new RoutingError('api_name_reserved', { detail, context: { field: '/hostname' } })
}

export interface WantedAddress {
  /** Canonical. */
  readonly hostname: string
  readonly upstream: Address
  readonly visibility: Visibility
  readonly pool?: string
}

/** For operators: an address that a tenant gives would let it reach whatever the edge can. */
export async function writeBareRow(
  request: FastifyRequest,
  context: ApiContext,
  wanted: WantedAddress,
): Promise<Changed<RouteRecord>> {
  const { caller } = request
  const { hostname, pool } = wanted
  checkMay(caller, 'write', undefined)
  checkRoutable(context, caller, hostname)
  const record = ROUTES.parse({ ...wanted, state: 'running', generation: 0 })
  return writeRow(request, context, {
    hostname,
    plan: async (holder) => {
      if (pool !== undefined && (await findRecord(context.store, POOLS, pool)) === undefined) {
        const detail = `There is no pool "${pool}".`
        throw new RoutingError('api_pool_unknown', { detail, context: { field: '/pool' } })
      }
      if (holder?.record?.vm === undefined) return { record, edits: [] }
      checkTakeable(context, caller, holder)
      const custom = await findCustomDomain(context, hostname)
      if (custom?.record.state !== 'proven') return { record, edits: await unbind(context, holder) }
      throw taken(
        `"${hostname}" is a domain of the VM "${custom.record.vm}": DELETE /v1/domains/${hostname} first.`,
      )
    },
  })
}

/** @throws RoutingError `api_not_found`, `api_forbidden`, `api_name_reserved` */
export async function deleteRow(
  request: FastifyRequest,
  context: ApiContext,
  hostname: string,
): Promise<void> {
  const { caller } = request
  await writeRow(request, context, {
    hostname,
    plan: async (holder) => {
      const { vm, pool } = holder?.record ?? {}
      const isKnown = may(caller, 'read', pool) || may(caller, 'write', pool)
      if (holder === undefined || !isKnown) throw notFound(ROUTES, hostname)
      checkMay(caller, 'write', pool)
      if (vm === undefined) return { record: undefined, edits: [] }
      const port = findNamesake(hostname, context.domain)
      if (port?.vm === vm) {
        const detail = `"${hostname}" is the own name of the VM "${vm}", and goes with ${port.port === undefined ? 'it' : `its port: DELETE /v1/vms/${vm}/ports/${port.port}`}.`
        throw new RoutingError('api_name_reserved', { detail })
      }
      return { record: undefined, edits: await unbind(context, holder) }
    },
  })
}

interface RowWrite {
  readonly hostname: string
  /** What the row shall be; undefined deletes it. Edits of bindings that lose it go with it. */
  readonly plan: (
    holder: Holder | undefined,
  ) => Promise<{ readonly record: RouteRecord | undefined; readonly edits: readonly Edit[] }>
}

/**
 * Writes a row that is joined from nothing. A change of the VM that has it at the same time either writes the row too
 * and conflicts, or leaves it as it is.
 */
async function writeRow(
  request: FastifyRequest,
  context: ApiContext,
  { hostname, plan }: RowWrite,
): Promise<Changed<RouteRecord>> {
  const key = ROUTES.prefix + hostname
  const preconditions = parsePreconditions(request.headers)
  const { plan: done, revisions } = await commitPlanned(
    context.store,
    async () => {
      const holder = await findHolder(context.store, hostname)
      const { record, edits } = await plan(holder)
      const current = holder?.row.revision ?? 0
      checkWrite(preconditions, { key, current })
      const row: Edit = { key, before: holder?.row, after: record && { ...record } }
      return { holder, record, current, edits: [row, ...edits.map(toDerived)] }
    },
    ({ holder, record, edits }) =>
      auditsOf(request, context, { edits, pool: (record ?? holder?.record)?.pool }),
  )
  const { holder, record, current } = done
  const revision = revisions.get(key) ?? current
  if (revisions.size > 0) logChange(request, context, { key, revision })
  return { before: storedOf(holder), after: record && { key, record, revision }, isNew: current === 0 }
}

function storedOf(holder: Holder | undefined): Stored<RouteRecord> | undefined {
  if (holder?.record === undefined) return undefined
  const { key, revision } = holder.row
  return { key, record: holder.record, revision }
}
