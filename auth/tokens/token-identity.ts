/** What the claims of a token that was verified say of its bearer. */

import type { ApiTokenRow } from '../access.ts'
import { toEmailAddress } from '../email-address.ts'
import { AuthError } from '../errors.ts'
import type { Identity } from '../identity.ts'
import { readLimits } from './token-limits.ts'
import type { JsonObject } from './unique-json.ts'

/** With what it was proven by, so that it can be asked whether that still counts. */
export interface Verified extends Identity {
  readonly method: 'cookie' | 'token' | 'self' | 'api' | 'link'
  /** Of our own key that signed it. */
  readonly signingKeyId?: string
  readonly apiToken?: ApiTokenRow
  /** What the host name led to when a cookie was made: whoever has the name later learns nothing from it. */
  readonly place?: Place
  /** Of a cookie: when the login behind it was, in Unix milliseconds; the cookie itself may be younger. */
  readonly loggedInAt?: number
  /** The gate's own note: a WeakMap of a thousand identities cost 1 µs a request. */
  lastPassage?: object | undefined
}

export interface Place {
  readonly vm: string | undefined
  readonly pool: string | undefined
}

/** Claims whose form the shape of the token has settled. */
export interface OwnClaims extends JsonObject {
  readonly aud: string
  readonly sub: string
  readonly jti: string
  readonly iat: number
  readonly exp: number
}

const LINK = 'link:'
const TOKEN = 'token:'
/** What goes into a header field of its own: visible ASCII. */
const USER = /^[\x21-\x7e]{1,254}$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const CONTROL = /[\0-\x1f\x7f]/
const MAX_CTX = 1_024
const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/
const TOKEN_CLAIMS = new Set([
  ...['iss', 'aud', 'sub', 'jti', 'iat', 'nbf', 'exp'],
  ...['ports', 'methods', 'path', 'ctx', 'cnf'],
])

/** A cookie of a person has the login that it comes from, one of a link has none. @throws AuthError `auth_invalid` */
export function cookieIdentity(claims: OwnClaims, signingKeyId: string): Verified {
  const { sub, sid, email } = claims
  const place = { vm: textOf(claims.vm), pool: textOf(claims.pool) }
  const common = { ...commonOf(claims), credentialId: claims.jti, signingKeyId, place }
  if (sid === undefined) {
    if (!sub.startsWith(LINK)) throw new AuthError('auth_invalid', 'no-sid')
    return { ...common, kind: 'link', method: 'link', grantId: sub.slice(LINK.length) }
  }
  if (typeof sid !== 'string') throw new AuthError('auth_invalid', 'bad-sid')
  if (!USER.test(sub)) throw new AuthError('auth_invalid', 'bad-sub')
  return {
    ...common,
    kind: 'user',
    method: 'cookie',
    user: sub,
    sessionId: sid,
    ...(typeof claims.auth_time === 'number' && { loggedInAt: claims.auth_time * 1_000 }),
    ...(typeof email === 'string' && !hasControl(email) && { email }),
  }
}

/** What must not be in a header field's value (RFC 9110 section 5.5). */
export function hasControl(text: string): boolean {
  return CONTROL.test(text)
}

function textOf(claim: unknown): string | undefined {
  return typeof claim === 'string' ? claim : undefined
}

/** @throws AuthError `auth_invalid` */
export function tokenIdentity(claims: OwnClaims, signingKeyId: string): Verified {
  const { sub, jti } = claims
  if (sub !== TOKEN + jti) throw new AuthError('auth_invalid', 'bad-sub')
  // A name that is not known may be a bound that a newer API sets.
  const unknown = Object.keys(claims).find((name) => !TOKEN_CLAIMS.has(name))
  if (unknown !== undefined) throw new AuthError('auth_invalid', 'unknown-claim')
  return {
    ...commonOf(claims),
    ...boundsOf(claims),
    kind: 'token',
    method: 'token',
    credentialId: jti,
    grantId: jti,
    signingKeyId,
  }
}

/** @throws AuthError `auth_invalid` */
export function selfIdentity(
  claims: JsonObject,
  key: { readonly id: string; readonly user: string },
): Verified {
  const { aud, iat, exp, jti } = claims
  return {
    ...commonOf({ aud: String(aud), iat: Number(iat), exp: Number(exp) }),
    ...boundsOf(claims),
    kind: 'user',
    method: 'self',
    user: key.user,
    ...emailOf(key.user),
    keyId: key.id,
    ...(typeof jti === 'string' && { credentialId: jti }),
  }
}

/** Where people log in by mail, the address is the user's id: who registered the key has vouched for both. */
function emailOf(user: string): Pick<Identity, 'email'> {
  const isAddress = user.includes('@') && toEmailAddress(user) === user
  return isAddress ? { email: user } : {}
}

export function apiIdentity(row: ApiTokenRow): Verified {
  const expiresAt = row.expiresAt === undefined ? Number.POSITIVE_INFINITY : Date.parse(row.expiresAt)
  return {
    kind: 'api',
    method: 'api',
    tokenId: row.id,
    issuedAt: 0,
    expiresAt,
    apiToken: row,
    lastPassage: undefined,
  }
}

function commonOf({ aud, iat, exp }: Pick<OwnClaims, 'aud' | 'iat' | 'exp'>) {
  return { audience: aud, issuedAt: iat * 1_000, expiresAt: exp * 1_000, lastPassage: undefined }
}

/** Of tokens alone. @throws AuthError `auth_invalid` */
function boundsOf(claims: JsonObject): Pick<Identity, 'limits' | 'ctx' | 'proofThumbprint'> {
  const limits = readLimits(claims)
  const ctx = readCtx(claims.ctx)
  const proofThumbprint = readThumbprint(claims.cnf)
  return {
    ...(limits !== undefined && { limits }),
    ...(ctx !== undefined && { ctx }),
    ...(proofThumbprint !== undefined && { proofThumbprint }),
  }
}

function readCtx(ctx: unknown): string | undefined {
  if (ctx === undefined) return undefined
  if (typeof ctx !== 'string' || ctx.length > MAX_CTX || hasControl(ctx)) {
    throw new AuthError('auth_invalid', 'bad-ctx')
  }
  return ctx
}

/** RFC 9449 section 6.1. A binding to anything else cannot be checked, and must not be passed over. */
function readThumbprint(cnf: unknown): string | undefined {
  if (cnf === undefined) return undefined
  if (typeof cnf !== 'object' || cnf === null) throw new AuthError('auth_invalid', 'bad-cnf')
  const { jkt, ...others } = cnf as Record<string, unknown>
  if (typeof jkt !== 'string' || !THUMBPRINT.test(jkt) || Object.keys(others).length > 0) {
    throw new AuthError('auth_invalid', 'bad-cnf')
  }
  return jkt
}
