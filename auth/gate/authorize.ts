/** What an identity may do at a route: by ownership, by the scopes of an API token, or by a grant of the row. */

import type { Access } from '../access.ts'
import type { Identity } from '../identity.ts'

/** `viewer` may ask the web ports; `root` may do everything, SSH and tunnels too. */
export type Role = 'root' | 'viewer'

/** What is read of a row; its grants are those that count for its port. */
export interface GuardedRoute {
  readonly pool?: string
  readonly grants?: readonly RouteGrant[]
}

export interface RouteGrant {
  readonly to: { readonly kind: string; readonly value: string }
  readonly role: string
  /** ISO 8601. */
  readonly expiresAt?: string
}

export interface Right {
  readonly role: Role
  /** Unix milliseconds; it has to be looked for again then. */
  readonly endsAt: number
}

export interface RightContext {
  readonly access: Pick<Access, 'findOwner' | 'findApiToken'>
  /** Unix milliseconds. */
  readonly nowMs: number
}

/** The operator's token of a single process; no API token's id, for those have 12 characters. */
export const OPERATOR_ID = 'bootstrap'

/** By ownership, scope or a live grant; the route's visibility is not looked at. */
export function findRole(identity: Identity, route: GuardedRoute, context: RightContext): Role | undefined {
  return findRight(identity, route, context)?.role
}

/** The same, with when it ends. */
export function findRight(identity: Identity, route: GuardedRoute, context: RightContext): Right | undefined {
  const standing = findStanding(identity, route, context.access)
  if (standing === 'root') return { role: 'root', endsAt: Number.POSITIVE_INFINITY }
  const granted = findGranted(identity, route, context.nowMs)
  if (granted?.role === 'root' || standing === undefined) return granted
  return { role: standing, endsAt: Number.POSITIVE_INFINITY }
}

/** What it has without any grant. */
function findStanding(
  { kind, user, tokenId }: Identity,
  { pool }: GuardedRoute,
  access: RightContext['access'],
): Role | undefined {
  if (kind === 'user') {
    return user !== undefined && pool !== undefined && access.findOwner(pool) === user ? 'root' : undefined
  }
  return kind === 'api' && tokenId !== undefined ? findScope(tokenId, pool, access) : undefined
}

/** What belongs to no pool is reached by a scope over all of them. */
function findScope(
  tokenId: string,
  pool: string | undefined,
  access: RightContext['access'],
): Role | undefined {
  if (tokenId === OPERATOR_ID) return 'root'
  const verbs = (access.findApiToken(tokenId)?.scopes ?? [])
    .filter((scope) => scope.pool === '*' || scope.pool === pool)
    .flatMap((scope) => scope.verbs)
  if (verbs.includes('admin') || verbs.includes('share')) return 'root'
  return verbs.includes('read') || verbs.includes('write') ? 'viewer' : undefined
}

/** The strongest grant, and of equal ones that which lasts longest. */
function findGranted(identity: Identity, { grants }: GuardedRoute, nowMs: number): Right | undefined {
  let best: Right | undefined
  for (const grant of grants ?? []) {
    const right = isFor(grant.to, identity) ? toRight(grant, nowMs) : undefined
    if (right !== undefined && (best === undefined || isStronger(right, best))) best = right
  }
  return best
}

/** Undefined for one that has run out, or that cannot be read. */
function toRight({ role, expiresAt }: RouteGrant, nowMs: number): Right | undefined {
  const endsAt = expiresAt === undefined ? Number.POSITIVE_INFINITY : Date.parse(expiresAt)
  if (!(endsAt > nowMs) || (role !== 'root' && role !== 'viewer')) return undefined
  return { role, endsAt }
}

function isStronger(one: Right, other: Right): boolean {
  return one.role === other.role ? one.endsAt > other.endsAt : one.role === 'root'
}

/** Each kind of identity meets its own kinds of grantees alone: a user named like a token's id is no token. */
function isFor({ kind, value }: RouteGrant['to'], identity: Identity): boolean {
  switch (identity.kind) {
    case 'user':
      return isForUser(kind, value, identity)
    case 'token':
      return kind === 'token' && value === identity.grantId
    case 'api':
      return kind === 'token' && value === identity.tokenId
    case 'link':
      return kind === 'link' && value === identity.grantId
    default:
      return false
  }
}

function isForUser(kind: string, value: string, { user, email }: Identity): boolean {
  if (kind === 'user') return user !== undefined && value === user
  if (email === undefined) return false
  return kind === 'email'
    ? value === email
    : kind === 'domain' && value === email.slice(email.lastIndexOf('@') + 1)
}
