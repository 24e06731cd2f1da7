/** What a provider's claims say of a person, as far as it can be believed. */

import { toEmailAddress, toUserId } from '../../email-address.ts'
import { LoginError } from '../errors.ts'
import type { Person } from '../login-store.ts'

export type ProviderClaims = Readonly<Record<string, unknown>>

const USER_ID = /^[\x21-\x7e]{1,254}$/
/** Subjects of what is no user (a cookie's `sub` says `link:…`). */
const RESERVED = /^(?:link|token|api):/i
const MAX_NAME_CHARACTERS = 100

/** True when the ID token is enough, so that the provider need not be asked for more. */
export function isComplete(claims: ProviderClaims, userClaim: string): boolean {
  return claims[userClaim] !== undefined && hasEmail(claims)
}

/**
 * The e-mail and whether it is verified come from the same place; the ID token, which is signed, comes first.
 * @throws LoginError `login_person_unfit`
 */
export function toPerson(sources: readonly ProviderClaims[], userClaim: string): Person {
  const email = findEmail(sources)
  const user = userClaim === 'email' ? email && toUserId(email) : findFirst(sources, userClaim)
  if (typeof user !== 'string' || !USER_ID.test(user) || RESERVED.test(user)) {
    throw new LoginError('login_person_unfit', { context: { reason: 'user-claim', claim: userClaim } })
  }
  const name = toName(findFirst(sources, 'name'))
  return { user, ...(email !== undefined && { email }), ...(name !== undefined && { name }) }
}

function hasEmail({ email, email_verified: isVerified }: ProviderClaims): boolean {
  return email !== undefined && isVerified !== undefined
}

/** OpenID Connect Core section 5.1: only `true` says that the address was theirs when it was looked at. */
function findEmail(sources: readonly ProviderClaims[]): string | undefined {
  const { email, email_verified: isVerified } = sources.find(hasEmail) ?? {}
  return typeof email === 'string' && isVerified === true ? toEmailAddress(email) : undefined
}

function findFirst(sources: readonly ProviderClaims[], claim: string): unknown {
  return sources.find((claims) => claims[claim] !== undefined)?.[claim]
}

/** Free text of the provider: without what does not print, and not too long. */
function toName(name: unknown): string | undefined {
  if (typeof name !== 'string') return undefined
  const text = name.replace(/\p{C}+/gu, ' ').trim()
  return text === '' ? undefined : [...text].slice(0, MAX_NAME_CHARACTERS).join('')
}
