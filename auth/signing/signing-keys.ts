/** Signs and verifies our own tokens (RFC 8725), with keys that all edges share and that are replaced on a schedule. */

import { randomBytes } from 'node:crypto'
import { errors, type JWTPayload, type JWTVerifyOptions, jwtVerify, SignJWT } from 'jose'
import type { KeyRotation } from '../../lib/key-rotation.ts'
import type { Access } from '../access.ts'
import { AuthError } from '../errors.ts'
import { CLOCK_TOLERANCE_S, checkClaims, readShape } from '../tokens/token-shape.ts'
import { KeyRing, type KeyRingDeps } from './key-ring.ts'
import { findSigningRow, isKnown } from './key-rotation.ts'
import { type Jwks, PublishedKeys } from './published-keys.ts'
import { startRotation } from './rotation-loop.ts'
import {
  ALGORITHM,
  type Claims,
  type SignDemand,
  type Signer,
  type TokenKind,
  TYPES,
  type Verifier,
} from './signing.ts'
import type { SigningKeyBook } from './signing-key-book.ts'

export interface SigningKeysDeps extends KeyRingDeps {
  readonly access: Pick<Access, 'version' | 'findSigningKey' | 'listSigningKeys' | 'onChange'>
  readonly book: SigningKeyBook
}

export interface SigningKeysSettings {
  /** `iss`: the origin of the login host. */
  readonly issuer: string
  /** For how long a key signs. */
  readonly keyDays: number
  /** Nothing that is signed may live longer. */
  readonly tokenDays: number
  /** Unix milliseconds. */
  readonly now?: () => number
}

export interface SigningKeys extends Signer, Verifier {
  /** The same object until the keys change; a copy may be kept for `JWKS_MAX_AGE_S`. */
  jwks(): Jwks
  /** Adds the next key when it is due. Done by itself every 10 s. Never rejects. */
  rotate(): Promise<void>
}

interface Settings {
  readonly issuer: string
  readonly tokenMs: number
  readonly now: () => number
}

interface Parts {
  readonly access: SigningKeysDeps['access']
  readonly ring: KeyRing
  readonly rotation: KeyRotation
}

const DAY_MS = 86_400_000
const ID_BYTES = 16
/** Whatever `exp` says; seconds. */
const MAX_ASSERTION_AGE_S = 300
const REQUIRED = ['iss', 'sub', 'jti', 'iat', 'nbf', 'exp'] as const

/**
 * With an empty store it makes the first key, and returns when that one signs. With a store that is away it starts all
 * the same, with the keys that this edge has in memory; without any, it signs nothing until the store answers.
 */
export async function startSigningKeys(
  deps: SigningKeysDeps,
  settings: SigningKeysSettings,
): Promise<SigningKeys & AsyncDisposable> {
  const { issuer, keyDays, tokenDays, now = Date.now } = settings
  const tokenMs = tokenDays * DAY_MS
  const ring = new KeyRing(deps)
  const rotation = await startRotation({ ...deps, ring }, { keyMs: keyDays * DAY_MS, tokenMs, now })
  return new SharedKeys({ access: deps.access, ring, rotation }, { issuer, tokenMs, now })
}

class SharedKeys implements SigningKeys, AsyncDisposable {
  readonly #parts: Parts
  readonly #settings: Settings
  readonly #published: PublishedKeys

  constructor(parts: Parts, settings: Settings) {
    this.#parts = parts
    this.#settings = settings
    this.#published = new PublishedKeys(parts.access, settings.now)
  }

  async sign({ kind, audience, subject, id, expiresAt, claims }: SignDemand): Promise<string> {
    const { access, ring } = this.#parts
    const nowMs = this.#settings.now()
    const row = findSigningRow(access.listSigningKeys(), nowMs)
    if (row === undefined) throw new AuthError('auth_stale', 'no-signing-key')
    const key = await ring.getPrivate(row)
    const iat = Math.floor(nowMs / 1_000)
    const jti = id ?? randomBytes(ID_BYTES).toString('base64url')
    const fixed = {
      iss: this.#settings.issuer,
      aud: audience,
      sub: subject,
      jti,
      iat,
      nbf: iat,
      exp: expiresAt,
    }
    return new SignJWT({ ...claims, ...fixed })
      .setProtectedHeader({ alg: ALGORITHM, typ: TYPES[kind], kid: row.id })
      .sign(key)
  }

  /** What costs least comes first: form, claims, one look-up of the key, and only then its signature. */
  async verify(
    token: string,
    demand: { readonly kind: TokenKind; readonly audience: string },
  ): Promise<Claims> {
    const { access, ring } = this.#parts
    const { issuer, now } = this.#settings
    const nowMs = now()
    const shape = readShape(token)
    if (shape.header.alg !== ALGORITHM) throw new AuthError('auth_invalid', 'wrong-alg')
    const { audience } = demand
    checkClaims(shape, { type: TYPES[demand.kind], audience, issuer, required: REQUIRED, nowMs })
    const row = access.findSigningKey(shape.header.kid)
    if (row === undefined || !isKnown(row, nowMs)) throw new AuthError('auth_invalid', 'unknown-kid')
    const key = await ring.getPublic(row)
    try {
      const { payload } = await jwtVerify(token, key, this.#optionsOf(demand, nowMs))
      return toClaims(payload)
    } catch (error) {
      throw toAuthError(error)
    }
  }

  jwks(): Jwks {
    return this.#published.get()
  }

  rotate(): Promise<void> {
    return this.#parts.rotation.rotate()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.rotation[Symbol.asyncDispose]()
  }

  #optionsOf(
    demand: { readonly kind: TokenKind; readonly audience: string },
    nowMs: number,
  ): JWTVerifyOptions {
    const { issuer, tokenMs } = this.#settings
    return {
      algorithms: [ALGORITHM],
      typ: TYPES[demand.kind],
      issuer,
      audience: demand.audience,
      requiredClaims: [...REQUIRED],
      clockTolerance: CLOCK_TOLERANCE_S,
      maxTokenAge: demand.kind === 'assertion' ? MAX_ASSERTION_AGE_S : tokenMs / 1_000,
      currentDate: new Date(nowMs),
    }
  }
}

/** That they are there, and of these types, was checked before the signature. */
function toClaims(payload: JWTPayload): Claims {
  const { iss = '', aud, sub = '', jti = '', iat = 0, exp = 0 } = payload
  return { ...payload, iss, aud: typeof aud === 'string' ? aud : '', sub, jti, iat, exp }
}

function toAuthError(cause: unknown): AuthError {
  if (cause instanceof errors.JWSSignatureVerificationFailed) {
    return new AuthError('auth_invalid', 'bad-signature', { cause })
  }
  const reason = cause instanceof errors.JWTExpired ? 'too-old' : 'not-verified'
  return new AuthError('auth_invalid', reason, { cause })
}
