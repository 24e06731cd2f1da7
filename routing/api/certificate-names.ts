/** Host names that certificates are asked about by: where each is, and whose it is. */

import type { FastifyRequest } from 'fastify'
import { DOMAINS, type Stored } from '../records/record-kinds.ts'
import type { DomainRecord } from '../records/records.ts'
import type { ApiContext } from './context.ts'
import { findPoolOf } from './domain-plans.ts'
import { type ByHostname, getHostname, placeOf } from './hostnames.ts'
import { findSound } from './vm-view.ts'

export interface CertificateName {
  /** Canonical. */
  readonly hostname: string
  readonly place: ReturnType<typeof placeOf>
  /** Outside of the platform alone: the record of who asked for it. */
  readonly domain?: Stored<DomainRecord>
  /** Whose VM the domain is for; undefined is the operators'. */
  readonly pool?: string
}

/** The platform's wildcard stands for its domain: they share a certificate. @throws RoutingError `api_not_found`; RecordInvalid */
export async function getCertificateName(
  request: FastifyRequest<ByHostname>,
  context: ApiContext,
): Promise<CertificateName> {
  const { domain: platform } = context
  // Asked for by itself: a platform domain may have one label, as `localhost`, and no other name may.
  const isPlatform = [platform, `*.${platform}`].includes(request.params.hostname.toLowerCase())
  const hostname = isPlatform ? platform : getHostname(request, { prefix: 'certificate/' })
  const place = placeOf(hostname, context.domain)
  if (place !== 'outside') return { hostname, place }
  const domain = await findSound(context.store, DOMAINS, hostname)
  const pool = domain && (await findPoolOf(context, domain.record))
  return { hostname, place, ...(domain && { domain }), ...(pool !== undefined && { pool }) }
}
