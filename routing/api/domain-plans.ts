/** Custom domains: whose they are, when a route may use one, and the documents that change with one. */

import { randomBytes } from 'node:crypto'
import { findUploadDeletions } from '../certificates/former-uploads.ts'
import { RecordInvalid, RoutingError } from '../errors.ts'
import { type Edit, toEdit } from '../records/edits.ts'
import { DOMAINS, findRecord, type Stored, VMS } from '../records/record-kinds.ts'
import type { DomainRecord } from '../records/records.ts'
import { type NamePast, planFormerOwner, readNamePast } from '../vms/former-owners.ts'
import { CLAIM_PREFIX, toDerived } from '../vms/vm-plans.ts'
import type { WantedBinding } from './binding-plans.ts'
import { type Caller, may } from './caller.ts'
import type { ApiContext } from './context.ts'
import { type ProofRecord, proofRecords, type WantedProof } from './domain-proof.ts'
import { MAX_HOSTNAMES, placeOf, taken } from './hostnames.ts'
import { findSound } from './vm-view.ts'

/** An unproven domain of another pool may be taken over after a week. */
const PENDING_MS = 7 * 86_400_000
const CHALLENGE_BYTES = 24

/** The record of a host name outside of the platform's domain. @throws RoutingError `api_record_broken` */
export async function findCustomDomain(
  { store, domain }: ApiContext,
  hostname: string,
): Promise<Stored<DomainRecord> | undefined> {
  return placeOf(hostname, domain) === 'outside' ? findRecord(store, DOMAINS, hostname) : undefined
}

/** The pool of the VM that a domain is for; undefined when the VM is gone. */
export async function findPoolOf(
  { store }: Pick<ApiContext, 'store'>,
  { vm }: Pick<DomainRecord, 'vm'>,
): Promise<string | undefined> {
  return (await findSound(store, VMS, vm))?.record.pool
}

/** What is asked of DNS for a domain. */
export async function proofOf(
  context: ApiContext,
  { hostname, challenge, vm }: Pick<DomainRecord, 'hostname' | 'challenge' | 'vm'>,
): Promise<WantedProof> {
  const { isPassedOn } = await findNamePast(context, vm)
  return { hostname, challenge, target: `${vm}.${context.domain}`, isPassedOn }
}

export async function findNamePast(context: ApiContext, vm: string): Promise<NamePast> {
  const pool = await findPoolOf(context, { vm })
  return readNamePast(context.store, { vm, pool, now: context.now() })
}

export interface CustomRoute {
  readonly custom: Stored<DomainRecord> | undefined
  readonly wanted: WantedBinding
}

/** Operators may lead any domain anywhere. @throws RoutingError `api_domain_unproven`, `api_name_taken` */
export async function checkProven(
  context: ApiContext,
  caller: Caller,
  { custom, wanted }: CustomRoute,
): Promise<void> {
  if (may(caller, 'write', undefined)) return
  const { hostname, vm } = wanted
  const pool = custom && (await findPoolOf(context, custom.record))
  const isTheirs = pool !== undefined && may(caller, 'write', pool)
  if (isTheirs && custom?.record.state === 'proven') return
  if (pool !== undefined && custom?.record.state === 'proven') throw taken(`"${hostname}" leads elsewhere.`)
  const asked = isTheirs && custom ? custom.record : { hostname, vm, challenge: '…' }
  const [txt, cname] = proofRecords(await proofOf(context, asked))
  const first = isTheirs
    ? ''
    : `Ask for it with PUT /v1/domains/${hostname} {"vm": "${vm}"}, which says the value. `
  const rest = cname
    ? `, or the ${describe(cname)}`
    : ": a CNAME is no proof while another pool had the VM's name"
  const detail = `${first}It takes the ${describe(txt)}${rest}.`
  throw new RoutingError('api_domain_unproven', { detail, context: { field: '/hostname' } })
}

function describe({ type, name, value }: ProofRecord): string {
  return `${type} record "${name}" with the value "${value}"`
}

/** What a domain becomes when it is asked for. */
export interface DomainDemand extends WantedBinding {
  /** An operator's word instead of a proof. */
  readonly proof?: 'operator'
}

/**
 * One record for each host name, first come: it stays with the pool that asked, unless it is never proven.
 * @throws RoutingError `api_name_taken`, RecordInvalid
 */
export async function toDomain(
  context: ApiContext,
  caller: Caller,
  { before, demand }: { readonly before: Stored<DomainRecord> | undefined; readonly demand: DomainDemand },
): Promise<DomainRecord> {
  const { hostname, vm, port, proof } = demand
  const now = context.now()
  const isKept = before !== undefined && (await isKeptFor(context, caller, before.record))
  if (before?.record.vm !== vm) await checkRoom(context, vm)
  const base = isKept ? before.record : createDomain(demand, now)
  const { port: _port, lastError, ...rest } = base
  const isProvenNow = proof === 'operator' && rest.state === 'pending'
  const proven = { state: 'proven', provenBy: 'operator', provenAt: now.toISOString() } as const
  return DOMAINS.parse({
    ...rest,
    hostname,
    vm,
    ...(port !== undefined && { port }),
    ...(isProvenNow ? proven : lastError !== undefined && { lastError }),
  })
}

function createDomain({ hostname, vm }: DomainDemand, now: Date): DomainRecord {
  const challenge = randomBytes(CHALLENGE_BYTES).toString('base64url')
  return { hostname, vm, challenge, state: 'pending', createdAt: now.toISOString() }
}

/** False when it starts anew, for another pool. */
async function isKeptFor(context: ApiContext, caller: Caller, record: DomainRecord): Promise<boolean> {
  const pool = await findPoolOf(context, record)
  if (pool === undefined) return false
  if (may(caller, 'write', pool)) return true
  const age = context.now().getTime() - Date.parse(record.createdAt)
  if (record.state === 'pending' && age > PENDING_MS) return false
  throw taken(`"${record.hostname}" is asked for by another pool.`)
}

async function checkRoom({ store }: ApiContext, vm: string): Promise<void> {
  const { documents } = await store.list(`${CLAIM_PREFIX}${vm}/`, { limit: MAX_HOSTNAMES })
  if (documents.length < MAX_HOSTNAMES) return
  throw new RecordInvalid('/vm', `It has ${MAX_HOSTNAMES} domains, and cannot have more.`)
}

/**
 * The edits of a domain's record, of what finds it by its VM, of whose the VM's name was when it leaves that VM, and of
 * what was uploaded for it when another has it.
 */
export async function domainEdits(
  context: Pick<ApiContext, 'store' | 'now'>,
  before: Stored<DomainRecord> | undefined,
  after: DomainRecord | undefined,
): Promise<readonly Edit[]> {
  const { store } = context
  const { hostname } = after ?? before?.record ?? {}
  const claimants = new Set([before?.record.vm, after?.vm].filter((vm) => vm !== undefined))
  const claims = [...claimants].map(async (vm): Promise<Edit> => {
    const key = `${CLAIM_PREFIX}${vm}/${hostname}`
    const claim = await store.get(key)
    const value = vm === after?.vm ? { vm, hostname } : undefined
    return toDerived({ key, before: claim, after: value })
  })
  const isSame = before === undefined || (await hasSameOwner(context, before.record, after))
  const uploads = isSame ? [] : await findUploadDeletions(store, before.record.hostname)
  const own = toEdit(DOMAINS.prefix + hostname, { before, after })
  const former = await formerEdits(context, before?.record, after)
  return [own, ...(await Promise.all(claims)), ...former, ...uploads]
}

/** Its CNAME may be left behind, and its pool give the VM's name up later. */
async function formerEdits(
  context: Pick<ApiContext, 'store' | 'now'>,
  before: DomainRecord | undefined,
  after: DomainRecord | undefined,
): Promise<readonly Edit[]> {
  if (before === undefined || before.vm === after?.vm) return []
  const { vm } = before
  const pool = await findPoolOf(context, before)
  return [await planFormerOwner(context.store, { vm, pool, now: context.now() })]
}

/** Whoever may write in two pools leads a domain from one to the other as it is: its challenge stays, its owner does not. */
async function hasSameOwner(
  context: Pick<ApiContext, 'store'>,
  before: DomainRecord,
  after: DomainRecord | undefined,
): Promise<boolean> {
  if (before.challenge !== after?.challenge) return false
  if (before.vm === after.vm) return true
  const [former, next] = await Promise.all([findPoolOf(context, before), findPoolOf(context, after)])
  return former === next
}

/** A proven domain goes where its route leads. */
export function leadDomain(
  context: ApiContext,
  custom: Stored<DomainRecord>,
  { vm, port }: WantedBinding,
): Promise<readonly Edit[]> {
  const { port: _port, ...rest } = custom.record
  return domainEdits(context, custom, { ...rest, vm, ...(port !== undefined && { port }) })
}
