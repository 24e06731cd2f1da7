/** Which certificate a host name needs. */

import { WILDCARD_TYPES } from '../challenges/challenge-types.ts'
import { isSingleLabel, isWithin, matches, toPlatformNames } from '../hostnames.ts'
import type { ChallengeType } from '../rows.ts'

export interface Target {
  /** What certificate and order are kept under. */
  readonly name: string
  readonly names: readonly string[]
  readonly types: readonly ChallengeType[]
  readonly kind: TargetKind
}

/**
 * `custom`: its own is ordered. `platform`: the one with the wildcard. `deep`: below the platform where the wildcard
 * does not reach, so it can be uploaded alone. `local`: no public CA issues for a domain of one label.
 */
export type TargetKind = 'custom' | 'platform' | 'deep' | 'local'

interface Places {
  readonly domain: string
  readonly challengeTypes: readonly ChallengeType[]
}

/** The platform's one certificate is for its domain and each name one label below; every name elsewhere has its own. */
export function toTarget(hostname: string, { domain, challengeTypes }: Places): Target {
  const names = toPlatformNames(domain)
  if (names.some((pattern) => matches(pattern, hostname)))
    return { name: domain, names, types: WILDCARD_TYPES, kind: isSingleLabel(domain) ? 'local' : 'platform' }
  const own = { name: hostname, names: [hostname], types: challengeTypes }
  if (!isWithin(hostname, domain)) return { ...own, kind: 'custom' }
  return { ...own, kind: isSingleLabel(domain) ? 'local' : 'deep' }
}

/** Why nobody is asked for it; undefined where a CA is. */
export function findObstacle(hostname: string, kind: TargetKind): string | undefined {
  if (kind === 'deep')
    return `${hostname} is more than one label in front of the platform's domain: no certificate is ordered for it.`
  return kind === 'local' ? `No public authority issues for ${hostname}.` : undefined
}

/**
 * What an upload is kept under and counts for, whatever other names the certificate has: those may belong to others.
 * A name below the platform's domain may have a certificate of its own.
 */
export function toUploadTarget(hostname: string, { domain }: Pick<Places, 'domain'>) {
  return { name: hostname, names: hostname === domain ? toPlatformNames(domain) : [hostname] }
}
