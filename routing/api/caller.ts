/** Who calls the admin API, and what the caller's token allows. */

import type { Static } from 'typebox'
import { RoutingError } from '../errors.ts'
import { isPast } from '../records/moments.ts'
import { type SCOPE, type TokenRecord, VERBS, type Verb } from '../records/records.ts'

export type Scope = Static<typeof SCOPE>

export interface Caller {
  /** A token's id, `bootstrap`, or `user:` and the id of a user who signed the token. */
  readonly id: string
  /** Of a token that a user signed. */
  readonly user?: string
  /** Of a token that a user signed: who it stands for now. @throws what authentication throws */
  readonly renew?: () => Promise<Caller>
  readonly scopes: readonly Scope[]
  /** When its token runs out. */
  readonly expiresAt?: string
  /** The bootstrap token after the first token was made: it is given the answer with that again, and nothing else. */
  readonly isSpent?: true
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set before any handler runs, except at the open addresses. */
    caller: Caller
  }
}

/** No token's id: those have 12 characters. */
export const BOOTSTRAP_ID = 'bootstrap'
/** Written when the bootstrap token has made the first token of a fleet. */
export const BOOTSTRAP_KEY = 'bootstrap/used'
export const EVERYTHING: readonly Scope[] = [{ pool: '*', verbs: [...VERBS] }]

/** The id finds the record, the secret is compared with the record's digest. */
export function formatToken(id: string, secret: string): string {
  return `lf_${id}_${secret}`
}

/** @throws RoutingError `api_unauthorized` after the token's end */
export function toCaller({ id, scopes, expiresAt }: TokenRecord, now: Date): Caller {
  if (isPast(expiresAt, now)) {
    throw new RoutingError('api_unauthorized', { detail: `The token ran out at ${expiresAt}.` })
  }
  return { id, scopes, ...(expiresAt !== undefined && { expiresAt }) }
}

/** `pool` is undefined for what belongs to no pool: only a scope over all pools reaches it. */
export function may({ scopes }: Pick<Caller, 'scopes'>, verb: Verb, pool: string | undefined): boolean {
  return scopes.some((scope) => (scope.pool === '*' || scope.pool === pool) && scope.verbs.includes(verb))
}

/** @throws RoutingError `api_forbidden` that names the scope that is missing */
export function checkMay(caller: Caller, verb: Verb, pool: string | undefined): void {
  if (may(caller, verb, pool)) return
  const where = pool === undefined ? 'over all pools ("*")' : `in the pool "${pool}"`
  throw new RoutingError('api_forbidden', { detail: `The token lacks the verb "${verb}" ${where}.` })
}

/** False when the caller lacks the verb in every pool. */
export function mayAnywhere({ scopes }: Caller, verb: Verb): boolean {
  return scopes.some(({ verbs }) => verbs.includes(verb))
}
