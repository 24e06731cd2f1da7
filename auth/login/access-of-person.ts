/** Whether a person comes in at a host, and whether they have to be asked first. */

import type { Identity } from '../identity.ts'
import type { LoginContext, LoginRoute } from './context.ts'

type Context = Pick<LoginContext, 'findRole'>

export function mayEnter(identity: Identity, route: LoginRoute, { findRole }: Context): boolean {
  return findRole(identity, route) !== undefined
}

/**
 * True when the host's owner knows who this is: it is the owner, or somebody that the owner let in by name. Everybody
 * else is asked before the host learns it, also those whom a grant to a whole e-mail domain lets in.
 */
export function isKnownToOwner(identity: Identity, route: LoginRoute, context: Context): boolean {
  const named = route.grants?.filter(({ to }) => to.kind === 'user' || to.kind === 'email') ?? []
  return mayEnter(identity, { ...route, grants: named }, context)
}
