/** What is signed and how it is checked: the forms of our own JWTs (RFC 7519), which RFC 8725 keeps apart by `typ`. */

/** `cookie` of a VM host; `session` of the login host; `token` and `link` of the API; `assertion` for the VM. */
export const TYPES = {
  cookie: 'landfall-cookie+jwt',
  session: 'landfall-session+jwt',
  token: 'landfall-token+jwt',
  link: 'landfall-link+jwt',
  assertion: 'landfall-assertion+jwt',
} as const

/** A token that its user signed with an SSH key. */
export const SELF_TYPE = 'landfall-self+jwt'
export const ALGORITHM = 'ES256'

export type TokenKind = keyof typeof TYPES

export interface SignDemand {
  readonly kind: TokenKind
  /** `aud`: one host name. */
  readonly audience: string
  /** `sub`. */
  readonly subject: string
  /** `jti`; made at random when absent. */
  readonly id?: string
  /** Unix seconds. */
  readonly expiresAt: number
  /** Further claims. */
  readonly claims?: Readonly<Record<string, unknown>>
}

export interface Signer {
  /** A compact JWS. `iss`, `iat`, `nbf`, `kid` and `typ` are set here. Rejects with AuthError `auth_stale` while no key can sign. */
  sign(demand: SignDemand): Promise<string>
}

/** Of a token that was checked. */
export interface Claims {
  readonly iss: string
  readonly aud: string
  readonly sub: string
  readonly jti: string
  /** Unix seconds. */
  readonly iat: number
  readonly exp: number
  readonly [claim: string]: unknown
}

export interface Verifier {
  /** Signature, `alg`, `typ`, `iss`, `aud`, `exp`, `nbf` and `iat`. Rejects with AuthError `auth_invalid`. */
  verify(token: string, demand: { readonly kind: TokenKind; readonly audience: string }): Promise<Claims>
}
