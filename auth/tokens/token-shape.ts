/** Reads a compact JWS (RFC 7515 section 7.1) and checks its claims before any signature: what costs least comes first. */

import { isUtf8 } from 'node:buffer'
import { AuthError } from '../errors.ts'
import { TwoGenerations } from './two-generations.ts'
import { JsonError, type JsonObject, parseUniqueJson } from './unique-json.ts'

/** In bytes; a token is ASCII. */
export const MAX_TOKEN_BYTES = 4_096
/** For clocks of others; seconds. */
export const CLOCK_TOLERANCE_S = 5
/** Seconds. Later moments are beyond what a Date can be. */
const MAX_INSTANT_S = 8_640_000_000_000
const MAX_TEXT = 512

export interface TokenHeader {
  readonly alg: string
  readonly typ: string
  readonly kid: string
}

/** What a token says of itself; nothing of it is proven. */
export interface TokenShape {
  readonly header: TokenHeader
  readonly claims: JsonObject
}

/** The header of any JWS, with the members that its reader knows. */
export interface JwsShape {
  readonly header: JsonObject
  readonly claims: JsonObject
}

export interface ClaimDemand {
  /** The one `typ`; RFC 8725 section 3.11. */
  readonly type: string
  /** The one host name in `aud`. */
  readonly audience: string
  /** `iss`, unless anything, or nothing, is allowed there. */
  readonly issuer?: string
  /** Claims that must be there, besides `aud`. */
  readonly required?: readonly string[]
  /** Unix milliseconds. */
  readonly nowMs: number
}

const HEADER_MEMBERS = ['alg', 'typ', 'kid'] as const
/** Ours have about 110. */
const MAX_HEAD_CHARACTERS = 1_024
/** Tokens of one key share their header: reading it again cost 1.5 µs a request. */
const types = new TwoGenerations<{ readonly type: string | undefined }>(512)

/**
 * The `typ` that a text claims to have when it is formed like a JWS; for telling our own tokens from those of an app.
 * Never throws, and says nothing about the rest of the token.
 */
export function findType(token: string): string | undefined {
  const [head = '', , signature, rest] = token.split('.', 4)
  if (signature === undefined || rest !== undefined || head.length > MAX_HEAD_CHARACTERS) return undefined
  const known = types.find(head)
  if (known !== undefined) return known.type
  const type = readType(head)
  // A copy: a part of a string keeps all of it in memory, which here is a secret.
  types.set(Buffer.from(head).toString(), { type })
  return type
}

function readType(head: string): string | undefined {
  try {
    const header: unknown = JSON.parse(Buffer.from(head, 'base64url').toString())
    if (typeof header !== 'object' || header === null || !('typ' in header)) return undefined
    return typeof header.typ === 'string' ? header.typ : undefined
  } catch {
    return undefined
  }
}

/** @throws AuthError `auth_invalid` */
export function readShape(token: string): TokenShape {
  const { header, claims } = readJws(token, HEADER_MEMBERS)
  const { alg, typ, kid } = header
  if (!isText(alg)) throw invalid('no-alg')
  if (!isText(typ)) throw invalid('no-typ')
  if (!isText(kid)) throw invalid('no-kid')
  return { header: { alg, typ, kid }, claims }
}

/**
 * Three parts in canonical base64url, header and payload objects in UTF-8 without duplicate members. A header member
 * outside of `members` is refused: `crit`, `b64`, `jku`, `x5u` and `zip` are instructions that we do not follow, and
 * what is not known may be one. @throws AuthError `auth_invalid`
 */
export function readJws(token: string, members: readonly string[]): JwsShape {
  if (token.length > MAX_TOKEN_BYTES) throw invalid('oversized')
  const [head, body, signature, more] = token.split('.', 4)
  if (head === undefined || body === undefined || signature === undefined || more !== undefined) {
    throw invalid('not-three-parts')
  }
  const header = parseObject(decodePart(head, 'header'), 'header')
  const unknown = Object.keys(header).find((name) => !members.includes(name))
  if (unknown !== undefined) throw invalid('header-member')
  decodePart(signature, 'signature')
  return { header, claims: parseObject(decodePart(body, 'payload'), 'payload') }
}

/**
 * Everything about the claims that needs no key. `exp`, `nbf` and `iat` are checked where they are; one that has to be
 * there is in `required`. @throws AuthError `auth_invalid`
 */
export function checkClaims({ header, claims }: TokenShape, demand: ClaimDemand): void {
  if (header.typ !== demand.type) throw invalid('wrong-typ')
  const missing = demand.required?.find((name) => !Object.hasOwn(claims, name))
  if (missing !== undefined) throw invalid(`no-${missing}`)
  if (demand.issuer !== undefined && claims.iss !== demand.issuer) throw invalid('wrong-iss')
  checkAudience(claims.aud, demand.audience)
  for (const name of ['iss', 'sub', 'jti']) {
    if (claims[name] !== undefined && !isText(claims[name])) throw invalid(`bad-${name}`)
  }
  checkInstants(claims, demand.nowMs)
}

/** A list is refused even with one element: a token is for one host name. */
function checkAudience(value: unknown, audience: string): void {
  if (value === undefined) throw invalid('no-aud')
  if (typeof value !== 'string') throw invalid('bad-aud')
  if (value !== audience) throw invalid('wrong-aud')
}

/** `exp`, `nbf` and `iat` where they are. @throws AuthError `auth_invalid` */
export function checkInstants(claims: JsonObject, nowMs: number): void {
  const now = nowMs / 1_000
  const exp = readInstant(claims, 'exp')
  const nbf = readInstant(claims, 'nbf')
  const iat = readInstant(claims, 'iat')
  if (exp !== undefined && exp <= now - CLOCK_TOLERANCE_S) throw invalid('expired')
  if (nbf !== undefined && nbf > now + CLOCK_TOLERANCE_S) throw invalid('not-yet')
  if (iat !== undefined && iat > now + CLOCK_TOLERANCE_S) throw invalid('iat-ahead')
}

/** RFC 7519 section 2: a number of seconds, which may have a fraction. @throws AuthError `auth_invalid` */
export function readInstant(claims: JsonObject, name: string): number | undefined {
  const value = claims[name]
  if (value === undefined) return undefined
  if (typeof value !== 'number' || value < 0 || value > MAX_INSTANT_S) throw invalid(`bad-${name}`)
  return value
}

/** The decoder takes more than the one spelling of each value; two texts must not be one token. */
function decodePart(part: string, name: string): Buffer {
  const bytes = Buffer.from(part, 'base64url')
  if (bytes.length === 0) throw invalid(`no-${name}`)
  if (bytes.toString('base64url') !== part) throw invalid(`${name}-not-base64url`)
  return bytes
}

function parseObject(bytes: Buffer, name: string): JsonObject {
  if (!isUtf8(bytes)) throw invalid(`${name}-not-utf8`)
  try {
    return parseUniqueJson(bytes.toString())
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause
    throw invalid(`${name}-${cause.reason}`, { cause })
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_TEXT
}

function invalid(reason: string, options: { readonly cause?: unknown } = {}): AuthError {
  return new AuthError('auth_invalid', reason, options)
}
