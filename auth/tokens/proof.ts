/** DPoP proofs (RFC 9449): that the request was made by who holds the key that its token is bound to. */

import { createPublicKey, hash, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint, jwtVerify } from 'jose'
import { AuthError } from '../errors.ts'
import { ProofMemory } from './proof-memory.ts'
import { CLOCK_TOLERANCE_S, checkInstants, type JwsShape, readInstant, readJws } from './token-shape.ts'
import type { JsonObject } from './unique-json.ts'

export interface ProofDemand {
  /** The value of the one `DPoP` field. */
  readonly proof: string
  /** The token that came with it. */
  readonly token: string
  /** `cnf.jkt` of the token: the RFC 7638 thumbprint of the key. */
  readonly thumbprint: string
  readonly method: string
  /** As the client named it, with the port if it did. */
  readonly host: string
  /** Path and query; a target without a path stands for `/`. */
  readonly target: string
}

export interface Proofs {
  /** A proof counts once. Rejects with AuthError `auth_invalid`, or `auth_busy` when no more proofs can be remembered. */
  check(demand: ProofDemand): Promise<void>
}

export interface ProofsSettings {
  /** Unix milliseconds. */
  readonly now?: () => number
  /** How many proofs are remembered for a window: of all keys, and of one. 200,000 and 50,000 by default. */
  readonly maxProofs?: number
  readonly maxPerKey?: number
}

const PROOF_TYPE = 'dpop+jwt'
const MAX_AGE_S = 60
/** From the first moment at which a proof counts to the last one, and a second more. */
const WINDOW_MS = (MAX_AGE_S + 2 * CLOCK_TOLERANCE_S + 1) * 1_000
const DEFAULT_MAX_PROOFS = 200_000
const DEFAULT_MAX_PER_KEY = 50_000
const MAX_ID = 256
const HEADER_MEMBERS = ['alg', 'typ', 'jwk'] as const
/** Members that a public key may have; what else there is may be the private part. */
const JWK_MEMBERS = ['kty', 'crv', 'x', 'y', 'alg', 'use', 'kid', 'key_ops', 'ext']
const TYPE_BY_ALGORITHM: Readonly<Record<string, string>> = {
  ES256: 'EC/P-256',
  EdDSA: 'OKP/Ed25519',
  Ed25519: 'OKP/Ed25519',
}
const MAX_KEYS = 1_000

interface PublicJwk {
  readonly kty: string
  readonly crv: string
  readonly x: string
  readonly y?: string
}

export function createProofs(settings: ProofsSettings = {}): Proofs {
  return new CheckedProofs(settings)
}

class CheckedProofs implements Proofs {
  readonly #now: () => number
  readonly #memory: ProofMemory
  /** By thumbprint, oldest first. */
  readonly #keys = new Map<string, KeyObject>()

  constructor(settings: ProofsSettings) {
    const { now = Date.now, maxProofs = DEFAULT_MAX_PROOFS, maxPerKey = DEFAULT_MAX_PER_KEY } = settings
    this.#now = now
    this.#memory = new ProofMemory({ windowMs: WINDOW_MS, maxProofs, maxPerKey })
  }

  /** RFC 9449 section 4.3, what costs least first. */
  async check(demand: ProofDemand): Promise<void> {
    const { thumbprint } = demand
    const nowMs = this.#now()
    const shape = readJws(demand.proof, HEADER_MEMBERS)
    const { alg, jwk } = checkHeader(shape)
    checkTimes(shape.claims, nowMs)
    checkRequest(shape.claims, demand)
    const id = getId(shape.claims)
    if ((await calculateJwkThumbprint(jwk)) !== thumbprint) throw invalid('proof-key')
    if (this.#memory.has(thumbprint, id, nowMs)) throw invalid('proof-replayed')
    await this.#checkSignature(demand, { alg, jwk, nowMs })
    // Another request with the same proof may have been checked meanwhile.
    if (this.#memory.has(thumbprint, id, nowMs)) throw invalid('proof-replayed')
    if (!this.#memory.add(thumbprint, id, nowMs)) throw new AuthError('auth_busy', 'too-many-proofs')
  }

  async #checkSignature(
    { proof, thumbprint }: ProofDemand,
    { alg, jwk, nowMs }: { readonly alg: string; readonly jwk: PublicJwk; readonly nowMs: number },
  ): Promise<void> {
    try {
      await jwtVerify(proof, this.#getKey(thumbprint, jwk), {
        algorithms: [alg],
        typ: PROOF_TYPE,
        maxTokenAge: MAX_AGE_S,
        clockTolerance: CLOCK_TOLERANCE_S,
        currentDate: new Date(nowMs),
      })
    } catch (cause) {
      throw invalid('proof-signature', { cause })
    }
  }

  /** The thumbprint covers all of the key. */
  #getKey(thumbprint: string, jwk: PublicJwk): KeyObject {
    const known = this.#keys.get(thumbprint)
    if (known !== undefined) return known
    const key = createPublicKey({ key: { ...jwk }, format: 'jwk' })
    const [oldest] = this.#keys.keys()
    if (oldest !== undefined && this.#keys.size >= MAX_KEYS) this.#keys.delete(oldest)
    this.#keys.set(thumbprint, key)
    return key
  }
}

function checkHeader({ header }: JwsShape): { readonly alg: string; readonly jwk: PublicJwk } {
  const { alg, typ, jwk } = header
  if (typ !== PROOF_TYPE) throw invalid('proof-typ')
  if (typeof alg !== 'string' || !Object.hasOwn(TYPE_BY_ALGORITHM, alg)) throw invalid('proof-alg')
  if (!isObject(jwk) || TYPE_BY_ALGORITHM[alg] !== `${jwk.kty}/${jwk.crv}`) throw invalid('proof-jwk')
  if (Object.keys(jwk).some((name) => !JWK_MEMBERS.includes(name))) throw invalid('proof-jwk-member')
  return { alg, jwk: toPublicJwk(jwk) }
}

function toPublicJwk({ kty, x, y }: JsonObject): PublicJwk {
  if (typeof x !== 'string' || x === '') throw invalid('proof-jwk')
  if (kty === 'OKP') return { kty: 'OKP', crv: 'Ed25519', x }
  if (typeof y !== 'string' || y === '') throw invalid('proof-jwk')
  return { kty: 'EC', crv: 'P-256', x, y }
}

function checkTimes(claims: JsonObject, nowMs: number): void {
  const iat = readInstant(claims, 'iat')
  if (iat === undefined) throw invalid('proof-no-iat')
  if (iat < nowMs / 1_000 - MAX_AGE_S - CLOCK_TOLERANCE_S) throw invalid('proof-old')
  checkInstants(claims, nowMs)
}

function checkRequest(claims: JsonObject, { method, host, target, token }: ProofDemand): void {
  if (claims.htm !== method) throw invalid('proof-htm')
  const asked = findAddress(`https://${host}${target.startsWith('/') ? target : '/'}`)
  const named = typeof claims.htu === 'string' ? findAddress(claims.htu) : undefined
  if (named === undefined || named !== asked) throw invalid('proof-htu')
  if (claims.ath !== hash('sha256', token, 'base64url')) throw invalid('proof-ath')
}

function getId({ jti }: JsonObject): string {
  if (typeof jti !== 'string' || jti === '' || jti.length > MAX_ID) throw invalid('proof-jti')
  return jti
}

/** Without query and fragment, normalised as RFC 3986 sections 6.2.2 and 6.2.3 have it. */
function findAddress(text: string): string | undefined {
  const url = URL.parse(text)
  if (url === null || url.username !== '' || url.password !== '') return undefined
  return `${url.protocol}//${url.host}${normalizeEscapes(url.pathname)}`
}

function normalizeEscapes(path: string): string {
  return path.replaceAll(/%[0-9a-f]{2}/gi, (escaped) => {
    const character = String.fromCharCode(Number.parseInt(escaped.slice(1), 16))
    return /[\w.~-]/.test(character) ? character : escaped.toUpperCase()
  })
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(reason: string, options: { readonly cause?: unknown } = {}): AuthError {
  return new AuthError('auth_invalid', reason, options)
}
