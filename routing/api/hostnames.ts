/** Host names in paths: their canonical form, who has them, and who may. */

import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { RecordInvalid, RoutingError } from '../errors.ts'
import { parseRouteHostname } from '../records/hostname.ts'
import { type Kind, ROUTES } from '../records/record-kinds.ts'
import type { RouteRecord } from '../records/records.ts'
import type { Store, StoredDocument } from '../store/store.ts'
import type { VmParts } from '../vms/vm-parts.ts'
import { findNamesake } from '../vms/vm-plans.ts'
import { type Caller, may } from './caller.ts'
import type { ApiContext } from './context.ts'
import { notFound } from './reads.ts'

/** Taken in any spelling of it; what is stored and shown is the canonical one. */
export const HOSTNAME_PARAMS = Type.Object({
  hostname: Type.String({ description: 'a host name, in any spelling of it' }),
})
/** Host names of one VM besides its own ones: all of its rows are written in one commit. */
export const MAX_HOSTNAMES = 50
const FIELD = { field: '/hostname' }

export type ByHostname = { Params: { hostname: string } }

/** Who has a host name. */
export interface Holder {
  readonly row: StoredDocument
  /** Undefined when the row cannot be read: then it is the operators'. */
  readonly record: RouteRecord | undefined
}

/** @throws RecordInvalid from PUT, elsewhere RoutingError `api_not_found` */
export function getHostname(
  { method, params }: Pick<FastifyRequest<ByHostname>, 'method' | 'params'>,
  kind: Pick<Kind<unknown>, 'prefix'>,
): string {
  if (method === 'PUT') return parseRouteHostname(params.hostname)
  try {
    return parseRouteHostname(params.hostname)
  } catch (cause) {
    if (cause instanceof RecordInvalid) throw notFound(kind, params.hostname)
    throw cause
  }
}

/** Where a host name is: one label in front of the platform's domain, elsewhere in it, or outside. */
export function placeOf(hostname: string, domain: string): 'label' | 'inside' | 'outside' {
  if (findNamesake(hostname, domain)) return 'label'
  return hostname === domain || hostname.endsWith(`.${domain}`) ? 'inside' : 'outside'
}

export async function findHolder(store: Pick<Store, 'get'>, hostname: string): Promise<Holder | undefined> {
  const row = await store.get(ROUTES.prefix + hostname)
  return row && { row, record: findRecord(row) }
}

/** @throws RoutingError `api_hostname_reserved`, `api_name_reserved`, `api_forbidden` */
export function checkRoutable({ domain }: ApiContext, caller: Caller, hostname: string): void {
  if (hostname === `admin.${domain}` || hostname === `auth.${domain}`) {
    throw new RoutingError('api_hostname_reserved', { detail: `"${hostname}" is reserved.`, context: FIELD })
  }
  const { vm, port } = findNamesake(hostname, domain) ?? {}
  if (port !== undefined) {
    const detail = `"${hostname}" belongs to the VM "${vm}": PUT /v1/vms/${vm}/ports/${port} is what sets it.`
    throw new RoutingError('api_name_reserved', { detail, context: FIELD })
  }
  if (placeOf(hostname, domain) !== 'inside' || may(caller, 'write', undefined)) return
  const detail = `No certificate covers "${hostname}", since it is not one label in front of "${domain}"; that takes the verb "write" over all pools ("*").`
  throw new RoutingError('api_forbidden', { detail, context: FIELD })
}

/**
 * A name that leads elsewhere may be taken over by who may write both sides, unless it is a VM's own.
 * @throws RoutingError `api_name_taken`
 */
export function checkTakeable({ domain }: ApiContext, caller: Caller, { row, record }: Holder): void {
  const hostname = row.key.slice(ROUTES.prefix.length)
  const isOwn = record?.vm !== undefined && findNamesake(hostname, domain)?.vm === record.vm
  if (!isOwn && may(caller, 'write', record?.pool)) return
  const isShown = isOwn && may(caller, 'read', record.pool)
  throw taken(isShown ? `"${hostname}" is the own name of a VM.` : `"${hostname}" leads elsewhere.`)
}

/** @throws RecordInvalid when the VM would have too many names */
export function checkRoom({ bindings }: VmParts, { domain }: ApiContext): void {
  const others = bindings.filter(({ record: { vm, hostname } }) => findNamesake(hostname, domain)?.vm !== vm)
  if (others.length < MAX_HOSTNAMES) return
  throw new RecordInvalid('/vm', `It has ${MAX_HOSTNAMES} host names, and cannot have more.`)
}

export function taken(detail: string): RoutingError {
  return new RoutingError('api_name_taken', { detail, context: FIELD })
}

function findRecord(row: StoredDocument): RouteRecord | undefined {
  try {
    return ROUTES.parse(row.value, row.key)
  } catch {
    return undefined
  }
}
