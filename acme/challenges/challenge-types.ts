/** What tells the challenge types of ACME apart (RFC 8555 section 8, RFC 8737); a new type begins here. */

import { digestOf } from '../../lib/digest.ts'
import { CHALLENGE_TYPES, type ChallengeType } from '../rows.ts'

export interface ChallengeTraits {
  /** What has to be right in DNS: the name's addresses are ours, or `_acme-challenge` below it is answered by us. */
  readonly provesBy: 'address' | 'delegation'
  /** Baseline Requirements 3.2.2.4. */
  readonly provesWildcards: boolean
  /** Whether the CA names the token when it asks. */
  readonly isAskedByToken: boolean
  /** What is answered, out of the key authorization (RFC 8555 section 8.1). */
  readonly toValue: (keyAuthorization: string) => string
}

const toSame = (keyAuthorization: string): string => keyAuthorization

export const CHALLENGES: Readonly<Record<ChallengeType, ChallengeTraits>> = {
  'http-01': { provesBy: 'address', provesWildcards: false, isAskedByToken: true, toValue: toSame },
  'tls-alpn-01': { provesBy: 'address', provesWildcards: false, isAskedByToken: false, toValue: toSame },
  'dns-01': { provesBy: 'delegation', provesWildcards: true, isAskedByToken: false, toValue: digestOf },
}

/** The platform's names are proven by these as well: one of them is a wildcard. */
export const WILDCARD_TYPES: readonly ChallengeType[] = CHALLENGE_TYPES.filter(
  (type) => CHALLENGES[type].provesWildcards,
)

export function isByDelegation(type: ChallengeType): boolean {
  return CHALLENGES[type].provesBy === 'delegation'
}
