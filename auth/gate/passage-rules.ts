/** The rules that a request meets once it is known whose it is. */

import { AuthError } from '../errors.ts'
import type { CredentialLimits } from '../identity.ts'
import type { Verified } from '../tokens/token-identity.ts'
import { findExcess, isPortWithin, type LimitedRequest } from '../tokens/token-limits.ts'
import type { Right } from './authorize.ts'
import type { Credential } from './credentials.ts'
import { type IdentityPassage, STRANGER } from './passages.ts'

/** What is read of a row here. */
export interface RuledRoute {
  readonly visibility: string
  readonly port?: number
}

export interface PlacedRoute {
  readonly vm?: string
  readonly pool?: string
}

/** @throws AuthError `auth_required` on a private port */
export function passAsStranger({ visibility }: RuledRoute): typeof STRANGER {
  if (visibility !== 'public') throw new AuthError('auth_required', 'no-credential')
  return STRANGER
}

/**
 * What becomes of a request whose credential did not count. A cookie comes along unasked, so a bad one counts as none;
 * a public port goes on while nothing can be known. @throws AuthError, and what is none
 */
export function passAfter(
  error: unknown,
  credential: Credential,
  { visibility }: RuledRoute,
): typeof STRANGER {
  if (!(error instanceof AuthError)) throw error
  const isPublic = visibility === 'public'
  if (isPublic && (credential.field === 'cookie' || error.code === 'auth_stale')) return STRANGER
  if (credential.field === 'cookie' && error.code === 'auth_invalid') {
    throw new AuthError('auth_required', error.reason, { cause: error })
  }
  throw error
}

/** RFC 9449 section 7.2: a bound token needs a proof, and a proof needs a bound token. @throws AuthError `auth_invalid` */
export function needsProof(
  { scheme }: Credential,
  proofCount: number,
  { proofThumbprint }: Verified,
): boolean {
  if (proofThumbprint === undefined) {
    if (scheme === 'dpop') throw new AuthError('auth_invalid', 'not-bound')
    return false
  }
  if (scheme !== 'dpop') throw new AuthError('auth_invalid', 'proof-required')
  if (proofCount !== 1) throw new AuthError('auth_invalid', 'no-proof')
  return true
}

/**
 * A token or a link is nothing without its grant, on public ports too; others are who they are.
 * @throws AuthError `auth_invalid`, `auth_forbidden`
 */
export function checkRight({ kind }: Verified, right: Right | undefined, { visibility }: RuledRoute): void {
  if (right !== undefined) return
  if (kind === 'token' || kind === 'link') throw new AuthError('auth_invalid', 'no-live-grant')
  if (visibility !== 'public') throw new AuthError('auth_forbidden', 'no-grant')
}

/** A cookie is for the VM that the name led to, and not for another one that has the name now. @throws AuthError `auth_invalid` */
export function checkPlace({ place }: Verified, { vm, pool }: PlacedRoute): void {
  if (place === undefined || (place.vm === vm && place.pool === pool)) return
  throw new AuthError('auth_invalid', 'another-vm')
}

/** @throws AuthError `auth_limited` */
export function checkPort(limits: CredentialLimits | undefined, { port }: RuledRoute): void {
  if (limits !== undefined && !isPortWithin(limits, port)) throw new AuthError('auth_limited', 'limit-port')
}

/** What hangs on the single request. @throws AuthError `auth_limited`, `auth_role` */
export function checkBounds(
  { identity: { limits }, role }: IdentityPassage,
  request: LimitedRequest,
  route: RuledRoute,
): void {
  if (limits !== undefined) {
    const excess = findExcess(limits, request, route.port)
    if (excess !== undefined) throw new AuthError('auth_limited', excess)
  }
  if (request.isConnect) checkTunnel(role, route)
}

/** Bytes of a tunnel are SSH and the like. @throws AuthError `auth_role` */
export function checkTunnel(role: Right['role'] | undefined, { visibility }: RuledRoute): void {
  if (role !== 'root' && visibility !== 'public') throw new AuthError('auth_role', 'tunnel-needs-root')
}
