/** Changes of custom domains: asking for one, proving it, giving it back. */

import type { FastifyRequest } from 'fastify'
import { RevisionConflict, RoutingError } from '../errors.ts'
import type { Edit } from '../records/edits.ts'
import { DOMAINS, type Stored } from '../records/record-kinds.ts'
import type { DomainRecord } from '../records/records.ts'
import type { StoredDocument } from '../store/store.ts'
import type { VmPlan } from '../vms/vm-changes.ts'
import type { VmParts } from '../vms/vm-parts.ts'
import { toDeletion, toDerived } from '../vms/vm-plans.ts'
import { planBinding } from './binding-plans.ts'
import { type Caller, checkMay, may } from './caller.ts'
import { type Changed, changeRecord } from './changes.ts'
import type { ApiContext } from './context.ts'
import {
  type DomainDemand,
  domainEdits,
  findNamePast,
  findPoolOf,
  proofOf,
  toDomain,
} from './domain-plans.ts'
import { proveDomain } from './domain-proof.ts'
import { checkTakeable, findHolder, placeOf } from './hostnames.ts'
import { findStored, getStored, notFound } from './reads.ts'
import { findSound } from './vm-view.ts'
import { getNamed, type PlannedWrite, writeVm } from './vm-writes.ts'

type DomainPlan = PlannedWrite & {
  readonly before: Stored<DomainRecord> | undefined
  readonly record: DomainRecord
}

/** @throws RoutingError `api_vm_unknown`, `api_name_taken`, `api_hostname_reserved`, `api_forbidden`; RecordInvalid */
export async function askForDomain(
  request: FastifyRequest,
  context: ApiContext,
  demand: DomainDemand,
): Promise<Changed<DomainRecord>> {
  const { caller } = request
  const { hostname, vm, proof } = demand
  checkOutside(context, hostname)
  const { plan, revision } = await writeVm(request, context, {
    vm,
    plan: async (parts): Promise<DomainPlan> => {
      getNamed(caller, 'write', parts)
      if (proof !== undefined) checkMay(caller, 'write', undefined)
      const document = await context.store.get(DOMAINS.prefix + hostname)
      const before = document && findStored(DOMAINS, document, context.log)
      if (document && !before) checkMay(caller, 'admin', undefined)
      const record = await toDomain(context, caller, { before, demand })
      const holder = await findHolder(context.store, hostname)
      if (holder && holder.record?.vm !== vm) checkTakeable(context, caller, holder)
      return planDomain(context, caller, { parts, before, document, record })
    },
  })
  return changedOf(plan, revision)
}

/**
 * Asks DNS, unless the domain is proven already and `again` is not wanted. What DNS said is written either way; a domain
 * that was proven once stays so until it is deleted.
 * @throws RoutingError `api_not_found`, `api_forbidden`, `api_name_taken`; RevisionConflict when it was changed meanwhile
 */
export async function checkDomain(
  request: FastifyRequest,
  context: ApiContext,
  { hostname, isAgain }: { readonly hostname: string; readonly isAgain: boolean },
): Promise<Changed<DomainRecord>> {
  const { caller } = request
  const asked = await getWritable(context, caller, hostname)
  if (asked.record.state === 'proven' && !isAgain) return { before: asked, after: asked, isNew: false }
  const { challenge, vm } = asked.record
  const found = await proveDomain(context.dns, await proofOf(context, asked.record))
  const { plan, revision } = await writeVm(request, context, {
    vm,
    plan: async (parts): Promise<DomainPlan> => {
      const before = await getWritable(context, caller, hostname)
      const isSame = before.record.challenge === challenge && before.record.vm === vm
      if (!isSame) throw new RevisionConflict({ key: before.key, current: before.revision })
      const { lastError: _lastError, ...rest } = before.record
      const provenAt = context.now().toISOString()
      const record = { ...rest, ...found, ...('provenBy' in found && { state: 'proven' as const, provenAt }) }
      const plan = await planDomain(context, caller, { parts, before, record: DOMAINS.parse(record) })
      const isByCname = 'provenBy' in found && found.provenBy === 'cname'
      return isByCname ? { ...plan, edits: [...plan.edits, await pinName(context, before)] } : plan
    },
  })
  return changedOf(plan, revision)
}

/** Lets the commit fail when the VM's name is passed on meanwhile. @throws RevisionConflict when it was already */
async function pinName(context: ApiContext, { key, record, revision }: Stored<DomainRecord>): Promise<Edit> {
  const { isPassedOn, pin } = await findNamePast(context, record.vm)
  if (isPassedOn) throw new RevisionConflict({ key, current: revision })
  return pin
}

/** @throws RoutingError `api_not_found`, `api_forbidden` */
export async function deleteDomain(
  request: FastifyRequest,
  context: ApiContext,
  hostname: string,
): Promise<void> {
  const { caller } = request
  const asked = await findSound(context.store, DOMAINS, hostname)
  if (asked === undefined) return deleteUnread(request, context, hostname)
  await writeVm(request, context, {
    vm: asked.record.vm,
    plan: async (parts): Promise<PlannedWrite> => {
      const before = await getWritable(context, caller, hostname)
      const { key, revision: current } = before
      if (before.record.vm !== parts.name) throw new RevisionConflict({ key, current })
      const binding = parts.bindings.find((stored) => stored.record.hostname === hostname)
      const bindings = parts.bindings.filter((stored) => stored !== binding)
      const edits = await domainEdits(context, before, undefined)
      return {
        edits: [...edits, ...(binding ? [toDerived(toDeletion(binding))] : [])],
        after: { ...parts, bindings },
        target: { key, current },
        pool: parts.vm?.record.pool,
      }
    },
  })
}

/** What is not there, or cannot be read and so is for who may do everything. */
async function deleteUnread(request: FastifyRequest, context: ApiContext, hostname: string): Promise<void> {
  await changeRecord(request, context, {
    kind: DOMAINS,
    name: hostname,
    poolOf: () => undefined,
    plan: () => {
      throw notFound(DOMAINS, hostname)
    },
  })
}

interface WantedDomain {
  readonly parts: VmParts
  readonly before: DomainPlan['before']
  /** What is there when it cannot be read. */
  readonly document?: StoredDocument | undefined
  readonly record: DomainRecord
}

/** The record, and once it is proven the host name with it. */
async function planDomain(
  context: ApiContext,
  caller: Caller,
  { parts, before, document, record }: WantedDomain,
): Promise<DomainPlan> {
  const [own, ...claims] = await domainEdits(context, before, record)
  const edits =
    own && document
      ? [{ ...own, before: document }, ...claims]
      : [own, ...claims].filter((edit) => edit !== undefined)
  const isProven = record.state === 'proven'
  const { plan }: { plan: VmPlan } = isProven
    ? await planBinding(context, caller, { parts, wanted: record })
    : { plan: { edits: [], after: parts } }
  return {
    ...plan,
    edits: [...edits, ...plan.edits.map(toDerived)],
    target: { key: DOMAINS.prefix + record.hostname, current: (document ?? before)?.revision ?? 0 },
    pool: parts.vm?.record.pool,
    before,
    record,
  }
}

function changedOf({ before, record, target }: DomainPlan, revision: number): Changed<DomainRecord> {
  return { before, after: { key: target.key, record, revision }, isNew: target.current === 0 }
}

/** @throws RoutingError `api_not_found`, `api_forbidden` */
async function getWritable(
  context: ApiContext,
  caller: Caller,
  hostname: string,
): Promise<Stored<DomainRecord>> {
  const stored = await getStored(context, DOMAINS, hostname)
  const pool = await findPoolOf(context, stored.record)
  if (!may(caller, 'read', pool) && !may(caller, 'write', pool)) throw notFound(DOMAINS, hostname)
  checkMay(caller, 'write', pool)
  return stored
}

function checkOutside({ domain }: ApiContext, hostname: string): void {
  if (placeOf(hostname, domain) === 'outside') return
  const detail = `"${hostname}" is in "${domain}", where nothing has to be proven: PUT /v1/routes/${hostname}.`
  throw new RoutingError('api_hostname_reserved', { detail, context: { field: '/hostname' } })
}
