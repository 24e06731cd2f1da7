/** Who a verified credential stands for, and within which bounds. */

/** `user`: somebody who logged in or signed with a key; `token`, `link`: what was issued for a VM; `api`: a token of the admin API. */
export type IdentityKind = 'user' | 'token' | 'link' | 'api'

/** Verified once; whether it still counts is asked at each request. */
export interface Identity {
  readonly kind: IdentityKind
  /** The stable id of a user; absent for the other kinds. */
  readonly user?: string
  /** Proven by the login, in its canonical form. */
  readonly email?: string
  /** The login that it comes from. */
  readonly sessionId?: string
  /** The credential's own id (`jti`). */
  readonly credentialId?: string
  /** The grant that a token or a link has: a token's `jti`, or the link that a cookie comes from. */
  readonly grantId?: string
  /** The API token's id. */
  readonly tokenId?: string
  /** The fingerprint of the SSH key that signed it, as the table has it. */
  readonly keyId?: string
  /** The one host name that it is for; absent for tokens of the admin API. */
  readonly audience?: string
  /** Unix milliseconds. */
  readonly issuedAt: number
  /** Unix milliseconds; Infinity for an API token without an end. */
  readonly expiresAt: number
  readonly limits?: CredentialLimits
  /** The token's `ctx`, handed to the VM verbatim. */
  readonly ctx?: string
  /** RFC 9449 section 6.1: the key that each request has to be signed with. */
  readonly proofThumbprint?: string
}

/** As in an assertion's `sub`; undefined for an identity that lacks what its kind has. */
export function findSubject({ kind, user, grantId, tokenId }: Identity): string | undefined {
  const id = { user, token: grantId, link: grantId, api: tokenId }[kind]
  return id === undefined || kind === 'user' ? id : `${kind}:${id}`
}

/** What a token is narrowed to; each absent one is no limit. */
export interface CredentialLimits {
  readonly ports?: readonly number[]
  /** Upper case. */
  readonly methods?: readonly string[]
  /** Starts with a slash; counts for whole segments. */
  readonly pathPrefix?: string
}
