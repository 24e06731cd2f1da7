/** Which records end by themselves, and where each says when. */

import {
  ACME_BUDGETS,
  CHALLENGES,
  FORMER_OWNERS,
  LOGIN_CODES,
  MAIL_LOGINS,
  REVOCATIONS,
  SESSIONS,
  SIGHTINGS,
  SIGNING_KEYS,
  TICKET_KEYS,
} from './records/record-kinds.ts'

export interface Expiry {
  readonly prefix: string
  /** The moment that it ends; one without it stays. */
  readonly field: 'expiresAt' | 'knownUntil' | 'fullAt'
}

export const SHORT_LIVED: readonly Expiry[] = [LOGIN_CODES, MAIL_LOGINS, CHALLENGES, SIGHTINGS].map(
  ({ prefix }) => ({ prefix, field: 'expiresAt' }),
)

export const LONG_LIVED: readonly Expiry[] = [
  { prefix: SESSIONS.prefix, field: 'expiresAt' },
  { prefix: REVOCATIONS.prefix, field: 'expiresAt' },
  { prefix: FORMER_OWNERS.prefix, field: 'expiresAt' },
  { prefix: SIGNING_KEYS.prefix, field: 'knownUntil' },
  { prefix: TICKET_KEYS.prefix, field: 'knownUntil' },
  // A bucket that is full says as much as none.
  { prefix: ACME_BUDGETS.prefix, field: 'fullAt' },
]

/** False also for what cannot be read, which nobody can use. */
export function isAfter(instant: unknown, limit: Date): boolean {
  return typeof instant === 'string' && Date.parse(instant) > limit.getTime()
}

/** False also for what cannot be read: a newer version may have written it. */
export function isUntil(instant: unknown, limit: Date): boolean {
  return typeof instant === 'string' && Date.parse(instant) <= limit.getTime()
}
