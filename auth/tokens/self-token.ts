/** JWTs that a user signs offline with an SSH key that is registered, and that die with the key. */

import { createPublicKey, type KeyObject } from 'node:crypto'
import { errors, jwtVerify } from 'jose'
import type { Access, SshKeyRow } from '../access.ts'
import { AuthError } from '../errors.ts'
import { SELF_TYPE } from '../signing/signing.ts'
import { CLOCK_TOLERANCE_S, checkClaims, readInstant, type TokenShape } from './token-shape.ts'

/** Whoever needs more uses the admin API, where it can be taken back by itself. */
const MAX_LIFE_S = 30 * 86_400
/** The fingerprint as `ssh-keygen -l` prints it. */
const KID = /^SHA256:([A-Za-z0-9+/]{43})$/
/** RFC 8037 has EdDSA, RFC 9864 calls the same Ed25519. */
const ALGORITHMS: Readonly<Record<string, readonly string[]>> = {
  'ssh-ed25519': ['EdDSA', 'Ed25519'],
  'ecdsa-sha2-nistp256': ['ES256'],
  'ecdsa-sha2-nistp384': ['ES384'],
  'ecdsa-sha2-nistp521': ['ES512'],
}
const CLAIMS = new Set([
  'aud',
  'exp',
  'iat',
  'nbf',
  'sub',
  'iss',
  'jti',
  'ports',
  'methods',
  'path',
  'ctx',
  'cnf',
])

export interface SelfDemand {
  readonly audience: string
  readonly access: Pick<Access, 'findSshKey'>
  readonly nowMs: number
}

/** Everything but the signature. @throws AuthError `auth_invalid` */
export function getSelfKey(shape: TokenShape, { audience, access, nowMs }: SelfDemand): SshKeyRow {
  checkClaims(shape, { type: SELF_TYPE, audience, required: ['exp', 'iat'], nowMs })
  const key = findKey(shape.header.kid, access)
  if (key === undefined) throw new AuthError('auth_invalid', 'unknown-kid')
  if (!ALGORITHMS[key.type]?.includes(shape.header.alg)) throw new AuthError('auth_invalid', 'wrong-alg')
  checkLife(shape)
  checkUser(shape, key)
  // A name that is not known may be meant as a bound, and must not be passed over.
  const unknown = Object.keys(shape.claims).find((name) => !CLAIMS.has(name))
  if (unknown !== undefined) throw new AuthError('auth_invalid', 'unknown-claim')
  return key
}

function findKey(kid: string, access: SelfDemand['access']): SshKeyRow | undefined {
  const [, fingerprint] = KID.exec(kid) ?? []
  if (fingerprint === undefined) return undefined
  return access.findSshKey(fingerprint.replaceAll('+', '-').replaceAll('/', '_'))
}

function checkLife({ claims }: TokenShape): void {
  const [exp = 0, iat = 0] = [readInstant(claims, 'exp'), readInstant(claims, 'iat')]
  if (exp <= iat) throw new AuthError('auth_invalid', 'exp-before-iat')
  if (exp - iat > MAX_LIFE_S) throw new AuthError('auth_invalid', 'too-long-lived')
}

function checkUser({ claims: { sub, iss } }: TokenShape, { user }: SshKeyRow): void {
  if (sub !== undefined && sub !== user) throw new AuthError('auth_invalid', 'wrong-sub')
  if (iss !== undefined && iss !== user) throw new AuthError('auth_invalid', 'wrong-iss')
}

export interface SignatureDemand {
  readonly key: SshKeyRow
  /** One of the key's own: the token has no say in it (RFC 8725 section 3.1). */
  readonly alg: string
  readonly nowMs: number
}

/** Rejects with AuthError `auth_invalid`. */
export async function checkSelfSignature(token: string, { key, alg, nowMs }: SignatureDemand): Promise<void> {
  const publicKey = keyObjectOf(key)
  try {
    await jwtVerify(token, publicKey, {
      algorithms: [alg],
      typ: SELF_TYPE,
      clockTolerance: CLOCK_TOLERANCE_S,
      requiredClaims: ['aud', 'exp', 'iat'],
      currentDate: new Date(nowMs),
    })
  } catch (cause) {
    if (!(cause instanceof errors.JOSEError)) throw cause
    throw toAuthError(cause)
  }
}

function toAuthError(cause: errors.JOSEError): AuthError {
  const isForged = cause instanceof errors.JWSSignatureVerificationFailed
  return new AuthError('auth_invalid', isForged ? 'bad-signature' : 'refused-jws', { cause })
}

/** A row is the same object until it changes, so what is made of it lives as long. */
const keyObjects = new WeakMap<SshKeyRow, KeyObject>()

function keyObjectOf(row: SshKeyRow): KeyObject {
  const known = keyObjects.get(row)
  if (known !== undefined) return known
  const made = toKeyObject(row)
  keyObjects.set(row, made)
  return made
}

const CURVES: Readonly<Record<string, { readonly crv: string; readonly bytes: number }>> = {
  'ecdsa-sha2-nistp256': { crv: 'P-256', bytes: 32 },
  'ecdsa-sha2-nistp384': { crv: 'P-384', bytes: 48 },
  'ecdsa-sha2-nistp521': { crv: 'P-521', bytes: 66 },
}

/** The table checked the blob when the key was registered (RFC 5656 section 3.1, RFC 8709 section 4): the point stands last. */
function toKeyObject({ type, publicKey }: SshKeyRow): KeyObject {
  const blob = Buffer.from(publicKey, 'base64')
  const curve = CURVES[type]
  if (curve === undefined) {
    const x = blob.subarray(-32).toString('base64url')
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  }
  const { crv, bytes } = curve
  const x = blob.subarray(-2 * bytes, -bytes).toString('base64url')
  const y = blob.subarray(-bytes).toString('base64url')
  return createPublicKey({ key: { kty: 'EC', crv, x, y }, format: 'jwk' })
}
