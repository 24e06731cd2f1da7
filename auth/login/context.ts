/** What the login service needs of the other parts, and what all its pages are given. */

import type { Log } from '../../lib/log.ts'
import type { Sealer } from '../../lib/seal.ts'
import type { Access } from '../access.ts'
import type { Role } from '../gate/authorize.ts'
import type { Credential } from '../gate/credentials.ts'
import type { Identity } from '../identity.ts'
import type { Signer, Verifier } from '../signing/signing.ts'
import type { ProofDemand } from '../tokens/proof.ts'
import type { Verified } from '../tokens/token-identity.ts'
import type { LoginStore } from './login-store.ts'
import type { LoginMethod } from './methods/login-method.ts'
import type { SealedTexts } from './sealed-text.ts'
import type { SeenSessions } from './seen-sessions.ts'
import type { WriteLimits } from './write-limits.ts'

/** A row of the route table as far as logins read it. */
export interface LoginRoute {
  readonly hostname: string
  readonly visibility: string
  readonly vm?: string
  readonly port?: number
  readonly pool?: string
  readonly grants?: readonly {
    readonly id: string
    readonly to: { readonly kind: string; readonly value: string }
    readonly role: string
    /** ISO 8601. */
    readonly expiresAt?: string
  }[]
}

export interface LoginRoutes {
  /** Undefined for names that lead to no VM; the platform's own hosts are none. */
  find(hostname: string): LoginRoute | undefined
}

/** The authenticator fits. */
export interface Verification {
  /** From memory; undefined when it has to be verified. @throws AuthError for what does not count */
  find(credential: Pick<Credential, 'text' | 'scheme'>, audience: string): Verified | undefined
  /** Rejects with AuthError for what does not count. */
  verify(
    credential: Pick<Credential, 'text' | 'scheme'>,
    audience: string,
    clientAddress: string,
  ): Promise<Verified>
  /** A check of ours, at the expense of the client's budget. Rejects with AuthError `auth_busy`. */
  spend<T>(clientAddress: string, verify: () => Promise<T>): Promise<T>
}

export interface LoginDeps {
  readonly log: Log
  readonly store: LoginStore
  readonly signer: Signer
  readonly verifier: Verifier
  /** Its key is for logins alone: anybody can make it seal as often as they like. */
  readonly sealer: Sealer
  readonly access: Pick<Access, 'findRevocation' | 'findSigningKey'>
  readonly authenticator: Verification
  /** Each proof counts once (RFC 9449 section 11.1), so these are the gate's own. Rejects with AuthError. */
  readonly proofs: { check(demand: ProofDemand): Promise<void> }
  /** What an identity may do at a row by ownership, scope or grant; undefined for nothing. */
  readonly findRole: (identity: Identity, route: LoginRoute) => Role | undefined
  readonly routes: LoginRoutes
  /** A JSON Web Key Set (RFC 7517 section 5). */
  readonly jwks: () => { readonly keys: readonly object[] }
  /** Unix milliseconds; the system's clock unless given. */
  readonly now?: () => number
}

export interface LoginSettings {
  /** `auth.<domain>`. */
  readonly loginHost: string
  /** The public HTTPS address of a host name: `https://host/`, with the port where it is not 443. */
  readonly urlOf: (hostname: string) => string
  /** How people log in, those that come first offered first. */
  readonly methods: readonly LoginMethod[]
  readonly sessionDays: number
  readonly cookieHours: number
}

export interface LoginContext extends LoginDeps, LoginSettings {
  readonly now: () => number
  readonly texts: SealedTexts
  readonly limits: WriteLimits
  readonly seenSessions: SeenSessions
}
