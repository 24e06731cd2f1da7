/** Callers who signed their token themselves: they may use and share what is in the pools that they own. */

import { digestOf } from '../../lib/digest.ts'
import { LandfallError } from '../../lib/errors.ts'
import { RoutingError } from '../errors.ts'
import { isPast } from '../records/moments.ts'
import { POOLS } from '../records/record-kinds.ts'
import type { Verb } from '../records/records.ts'
import type { Caller, Scope } from './caller.ts'
import type { ApiContext, SelfSigned } from './context.ts'
import { findSound } from './vm-view.ts'

const PREFIX = 'user:'
/** As long as an audit record can name who made a change. */
const MAX_ID_CHARACTERS = 200
/** What an owner may do without the operators: neither tokens of this API, nor anything over all pools. */
const OWNER_VERBS: readonly Verb[] = ['read', 'write', 'share']
/** Three parts in base64url (RFC 7515 section 7.1); neither tokens of this API nor the bootstrap token have a dot. */
const COMPACT_JWS = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/
/** Edges read no longer one. */
export const MAX_JWT_CHARACTERS = 4_096

export interface Credentials {
  readonly token: string
  /** The client's IP address, as far as the edge tells it. */
  readonly address: string | undefined
}

/** By its form alone. */
export function mayBeSelfSigned(token: string): boolean {
  return token.length <= MAX_JWT_CHARACTERS && COMPACT_JWS.test(token)
}

/** @throws RoutingError `api_unauthorized`; LandfallError when nobody can tell now whose it is */
export async function loadSelfSignedCaller(context: ApiContext, credentials: Credentials): Promise<Caller> {
  const { user, expiresAt } = await loadSelfSigned(context, credentials)
  if (isPast(expiresAt, context.now())) throw new RoutingError('api_unauthorized')
  return {
    id: toCallerId(user),
    user,
    scopes: await readScopes(context, user),
    ...(expiresAt !== undefined && { expiresAt }),
    renew: () => loadSelfSignedCaller(context, credentials),
  }
}

/** Why a token does not count is for the log. */
async function loadSelfSigned(
  { findUser }: ApiContext,
  { token, address }: Credentials,
): Promise<SelfSigned> {
  try {
    const found = await findUser(token, address)
    if (found !== undefined) return found
  } catch (cause) {
    const isRefused = cause instanceof LandfallError && cause.fault.status === 401
    throw isRefused ? new RoutingError('api_unauthorized', { cause }) : cause
  }
  throw new RoutingError('api_unauthorized')
}

/** What the edge has heard may be old: a pool that was given to another counts at once as theirs. */
async function readScopes({ store, poolsOf }: ApiContext, user: string): Promise<readonly Scope[]> {
  const pools = await Promise.all(poolsOf(user).map((name) => findSound(store, POOLS, name)))
  return pools.flatMap((pool) =>
    pool?.record.owner === user ? [{ pool: pool.record.name, verbs: [...OWNER_VERBS] }] : [],
  )
}

function toCallerId(user: string): string {
  const id = PREFIX + user
  return id.length <= MAX_ID_CHARACTERS ? id : `${PREFIX}sha256:${digestOf(user)}`
}
