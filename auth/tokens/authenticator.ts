/** Finds out whom a credential stands for: cheap checks first, then the client's budget, then the signature, each credential once. */

import { hash } from 'node:crypto'
import type { Access } from '../access.ts'
import { AuthError } from '../errors.ts'
import { OPERATOR_ID } from '../gate/authorize.ts'
import type { Credential } from '../gate/credentials.ts'
import type { Identity } from '../identity.ts'
import { ALGORITHM, SELF_TYPE, TYPES, type Verifier } from '../signing/signing.ts'
import { findTokenRow } from './api-token.ts'
import { SeenCredentials } from './seen-credentials.ts'
import { checkSelfSignature, getSelfKey } from './self-token.ts'
import {
  apiIdentity,
  cookieIdentity,
  type OwnClaims,
  selfIdentity,
  tokenIdentity,
  type Verified,
} from './token-identity.ts'
import { CLOCK_TOLERANCE_S, checkClaims, MAX_TOKEN_BYTES, readShape, type TokenShape } from './token-shape.ts'
import { VerifyBudget } from './verify-budget.ts'

/** A cookie is no token, and a token is no cookie. */
export type PresentedCredential = Pick<Credential, 'text' | 'scheme'>

export interface Authenticator {
  /**
   * From memory; undefined when it has to be verified first. `audience` is the one host name that it has to be for.
   * @throws AuthError `auth_invalid`
   */
  find(credential: PresentedCredential, audience: string): Verified | undefined
  /** `clientAddress` is whose budget a forgery is charged to. Rejects with AuthError `auth_invalid`, `auth_busy`, `auth_stale`. */
  verify(credential: PresentedCredential, audience: string, clientAddress: string): Promise<Verified>
  /** Whether what was verified still counts; returns when it ends at the latest, in Unix milliseconds. @throws AuthError `auth_invalid` */
  check(identity: Identity): number
  /** Another check at the expense of the client's budget. @throws AuthError `auth_busy` */
  spend<T>(clientAddress: string, verify: () => Promise<T>): Promise<T>
}

export interface AuthenticatorDeps {
  readonly access: Access
  readonly verifier: Verifier
  /** The bootstrap token of a single process, which may do everything. */
  readonly isOperator: (text: string) => boolean
  /** Unix milliseconds. */
  readonly now?: () => number
}

export interface AuthenticatorSettings {
  /** `iss` of our own tokens: `https://auth.<domain>`. */
  readonly issuer: string
  readonly failuresPerSecond: number
}

export function createAuthenticator(deps: AuthenticatorDeps, settings: AuthenticatorSettings): Authenticator {
  return new MemoryAuthenticator(deps, settings)
}

interface Prepared {
  readonly identity: Verified
  readonly verify: () => Promise<unknown>
}

const TOLERANCE_MS = CLOCK_TOLERANCE_S * 1_000
const REQUIRED = ['sub', 'jti', 'iat', 'exp']
/** No dot, so no JWT: how the bootstrap token is written. */
const OPERATOR_FORM = /^[A-Za-z0-9_-]{32,512}$/
const OPERATOR: Verified = {
  kind: 'api',
  method: 'api',
  tokenId: OPERATOR_ID,
  issuedAt: 0,
  expiresAt: Number.POSITIVE_INFINITY,
}

class MemoryAuthenticator implements Authenticator {
  readonly #deps: AuthenticatorDeps
  readonly #access: Access
  readonly #issuer: string
  readonly #now: () => number
  readonly #budget: VerifyBudget
  readonly #seen: SeenCredentials<Verified>
  readonly #ofRows = new WeakMap<object, Verified>()

  constructor(deps: AuthenticatorDeps, { issuer, failuresPerSecond }: AuthenticatorSettings) {
    this.#deps = deps
    this.#access = deps.access
    this.#issuer = issuer
    this.#now = deps.now ?? Date.now
    this.#budget = new VerifyBudget({ failuresPerSecond, now: this.#now })
    this.#seen = new SeenCredentials({ now: this.#now })
  }

  find(credential: PresentedCredential, audience: string): Verified | undefined {
    // A longer one is not even hashed.
    if (credential.text.length > MAX_TOKEN_BYTES) throw new AuthError('auth_invalid', 'oversized')
    const identity = this.#findSecret(credential) ?? this.#seen.find(toKey(credential, audience))
    if (identity !== undefined) this.check(identity)
    return identity
  }

  async verify(credential: PresentedCredential, audience: string, clientAddress: string): Promise<Verified> {
    const known = this.find(credential, audience)
    if (known !== undefined) return known
    const { identity, verify } = this.#prepare(credential, audience)
    this.check(identity)
    await this.#seen.verify(toKey(credential, audience), () =>
      this.spend(clientAddress, async () => {
        await verify()
        return identity
      }),
    )
    // Much may have been revoked meanwhile.
    return this.find(credential, audience) ?? identity
  }

  spend<T>(clientAddress: string, verify: () => Promise<T>): Promise<T> {
    return this.#budget.spend(clientAddress, verify)
  }

  check(identity: Verified): number {
    const nowMs = this.#now()
    const endsAt = Math.min(identity.expiresAt + TOLERANCE_MS, this.#endOfKey(identity))
    // NaN is the end of what cannot be read.
    if (!(nowMs < endsAt)) throw new AuthError('auth_invalid', 'expired')
    this.#checkRevocations(identity)
    if (identity.keyId !== undefined && this.#access.findSshKey(identity.keyId)?.user !== identity.user)
      throw new AuthError('auth_invalid', 'ssh-key-gone')
    const { apiToken } = identity
    if (apiToken && this.#access.findApiToken(apiToken.id)?.digest !== apiToken.digest)
      throw new AuthError('auth_invalid', 'api-token-gone')
    return endsAt
  }

  /** A key of ours that was taken out of use takes all that it has signed with it. */
  #endOfKey({ signingKeyId }: Verified): number {
    if (signingKeyId === undefined) return Number.POSITIVE_INFINITY
    const row = this.#access.findSigningKey(signingKeyId)
    if (row === undefined) throw new AuthError('auth_invalid', 'unknown-kid')
    return row.knownUntil === undefined ? Number.POSITIVE_INFINITY : Date.parse(row.knownUntil)
  }

  #checkRevocations({ user, sessionId, credentialId, grantId, ...identity }: Verified): void {
    const { issuedAt, loggedInAt = issuedAt } = identity
    const voidSince = user === undefined ? undefined : this.#access.findRevocation('user', user)
    if (voidSince !== undefined && loggedInAt <= voidSince)
      throw new AuthError('auth_invalid', 'user-revoked')
    if (this.#isRevoked('session', sessionId)) throw new AuthError('auth_invalid', 'session-revoked')
    if (this.#isRevoked('credential', credentialId) || this.#isRevoked('credential', grantId))
      throw new AuthError('auth_invalid', 'credential-revoked')
  }

  #isRevoked(kind: 'session' | 'credential', value: string | undefined): boolean {
    return value !== undefined && this.#access.findRevocation(kind, value) !== undefined
  }

  /** Tokens that are compared, not verified: a digest costs 1 µs. */
  #findSecret({ text, scheme }: PresentedCredential): Verified | undefined {
    if (scheme === 'cookie' || text.includes('.')) return undefined
    const row = findTokenRow(text, this.#access)
    if (row === undefined) {
      return OPERATOR_FORM.test(text) && this.#deps.isOperator(text) ? OPERATOR : undefined
    }
    const known = this.#ofRows.get(row)
    if (known !== undefined) return known
    const identity = apiIdentity(row)
    this.#ofRows.set(row, identity)
    return identity
  }

  /** Everything but the signature. @throws AuthError `auth_invalid` */
  #prepare({ text, scheme }: PresentedCredential, audience: string): Prepared {
    const shape = readShape(text)
    if (scheme === 'cookie') return this.#prepareOwn(text, shape, { kind: 'cookie', audience })
    return shape.header.typ === SELF_TYPE
      ? this.#prepareSelf(text, shape, audience)
      : this.#prepareOwn(text, shape, { kind: 'token', audience })
  }

  #prepareOwn(
    text: string,
    shape: TokenShape,
    demand: { readonly kind: 'cookie' | 'token'; readonly audience: string },
  ): Prepared {
    const { kind, audience } = demand
    const { header } = shape
    checkClaims(shape, {
      type: TYPES[kind],
      audience,
      issuer: this.#issuer,
      required: REQUIRED,
      nowMs: this.#now(),
    })
    if (header.alg !== ALGORITHM) throw new AuthError('auth_invalid', 'wrong-alg')
    const claims = shape.claims as OwnClaims
    const identity = (kind === 'cookie' ? cookieIdentity : tokenIdentity)(claims, header.kid)
    return { identity, verify: () => this.#deps.verifier.verify(text, demand) }
  }

  #prepareSelf(text: string, shape: TokenShape, audience: string): Prepared {
    const nowMs = this.#now()
    const key = getSelfKey(shape, { audience, access: this.#access, nowMs })
    return {
      identity: selfIdentity(shape.claims, key),
      verify: () => checkSelfSignature(text, { key, alg: shape.header.alg, nowMs }),
    }
  }
}

/** A digest in bytes, for the secret itself is kept nowhere: the memory of a process can be dumped; a text that counts at one host, or as one kind, does not count at another. */
function toKey({ text, scheme }: PresentedCredential, audience: string): string {
  return hash('sha256', `${scheme === 'cookie' ? 'cookie' : 'token'} ${audience} ${text}`, 'binary')
}
