/** Tokens of the admin API at VM hosts: `lf_<id>_<secret>`, of which the table holds the secret's digest. */

import { digestOf, isSameSecret } from '../../lib/digest.ts'
import type { Access, ApiTokenRow } from '../access.ts'
import { AuthError } from '../errors.ts'

const FORM = /^lf_([A-Za-z0-9]{12})_([A-Za-z0-9_-]{43})$/

/** By its form alone. */
export function isApiToken(text: string): boolean {
  return FORM.test(text)
}

/**
 * The row of the token; undefined when the text has another form.
 * @throws AuthError `auth_invalid` for one that was deleted, was never there, or has another secret
 */
export function findTokenRow(text: string, access: Pick<Access, 'findApiToken'>): ApiTokenRow | undefined {
  const [, id, secret] = FORM.exec(text) ?? []
  if (id === undefined || secret === undefined) return undefined
  const row = access.findApiToken(id)
  if (row === undefined) throw new AuthError('auth_invalid', 'unknown-api-token')
  if (!isSameSecret(row.digest, digestOf(secret))) throw new AuthError('auth_invalid', 'wrong-secret')
  return row
}
