/** Who calls the admin API, and what the caller's token allows. */

import { createHash, timingSafeEqual } from 'node:crypto'
import type { Static } from 'typebox'
import { RoutingError } from '../errors.ts'
import { findRecord, TOKENS } from '../record-kinds.ts'
import { type SCOPE, VERBS, type Verb } from '../records.ts'
import { createTokenCheck } from './bootstrap-token.ts'
import type { ApiContext } from './context.ts'

export type Scope = Static<typeof SCOPE>

export interface Caller {
  /** A token's id, or `bootstrap`. */
  readonly id: string
  readonly scopes: readonly Scope[]
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set before any handler runs, except at the open addresses. */
    caller: Caller
  }
}

/** Written when the bootstrap token has made the first token of a fleet. */
export const BOOTSTRAP_KEY = 'bootstrap/used'
export const EVERYTHING: readonly Scope[] = [{ pool: '*', verbs: [...VERBS] }]

/** `lf_<id>_<secret>`: the id finds the record, the secret is compared with the record's digest. */
const TOKEN_TEXT = /^lf_([A-Za-z0-9]{12})_([A-Za-z0-9_-]{43})$/

export function formatToken(id: string, secret: string): string {
  return `lf_${id}_${secret}`
}

export function digestOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url')
}

/** Resolves who sent the token. @throws RoutingError `api_unauthorized`, `api_bootstrap_spent` */
export function createAuthenticator(context: ApiContext): (token: string) => Promise<Caller> {
  const isBootstrap = createTokenCheck(context.token)
  return async (token) => {
    if (!isBootstrap(token)) return findTokenOwner(context, token)
    if (context.isFleet && (await context.store.get(BOOTSTRAP_KEY)) !== undefined) {
      throw new RoutingError('api_bootstrap_spent')
    }
    return { id: 'bootstrap', scopes: EVERYTHING }
  }
}

async function findTokenOwner({ store, now }: ApiContext, text: string): Promise<Caller> {
  const [, id = '', secret = ''] = TOKEN_TEXT.exec(text) ?? []
  const found = id === '' ? undefined : await findRecord(store, TOKENS, id)
  const { digest = '', expiresAt, scopes = [] } = found?.record ?? {}
  const isRight = isEqual(digestOf(secret), digest)
  const isLive = expiresAt === undefined || Date.parse(expiresAt) > now().getTime()
  if (found === undefined || !isRight || !isLive) throw new RoutingError('api_unauthorized')
  return { id, scopes }
}

function isEqual(one: string, other: string): boolean {
  return one.length === other.length && timingSafeEqual(Buffer.from(one), Buffer.from(other))
}

/** `pool` is undefined for what belongs to no pool: only a scope over all pools reaches it. */
export function may({ scopes }: Caller, verb: Verb, pool: string | undefined): boolean {
  return scopes.some((scope) => (scope.pool === '*' || scope.pool === pool) && scope.verbs.includes(verb))
}

/** @throws RoutingError `api_forbidden` that names the scope that is missing */
export function checkMay(caller: Caller, verb: Verb, pool: string | undefined): void {
  if (may(caller, verb, pool)) return
  const where = pool === undefined ? 'over all pools ("*")' : `in the pool "${pool}"`
  throw new RoutingError('api_forbidden', { detail: `The token lacks the verb "${verb}" ${where}.` })
}
