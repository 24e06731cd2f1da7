/** Decides by a route's visibility alone who may pass; everything that is not public is refused. */

import { LandfallError } from '../lib/errors.ts'
import { FAULTS } from './errors.ts'

/** What the decision needs of a route. */
export interface Guarded {
  readonly visibility: string
}

/** @throws LandfallError `auth_required` unless the route is public */
export function checkVisibility(route: Guarded): void {
  if (route.visibility === 'public') return
  throw new LandfallError('auth_required', FAULTS.auth_required)
}
