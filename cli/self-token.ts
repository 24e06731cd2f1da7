/** Tokens for one host name that an SSH key signs offline: JWTs (RFC 7519) that edges check against the registered keys. */

import { randomBytes } from 'node:crypto'
import { refuseUsage } from './errors.ts'
import type { SigningKey } from './signing-key.ts'

/** What the token is narrowed to; each absent one is no limit. */
export interface TokenLimits {
  readonly ports?: readonly number[]
  readonly methods?: readonly string[]
  readonly path?: string
  /** Handed to the VM as it is. */
  readonly ctx?: string
  /** RFC 9449 section 6.1. */
  readonly cnf?: { readonly jkt: string }
}

export interface TokenDemand {
  /** A host name in lower case. */
  readonly audience: string
  readonly issuedAt: Date
  readonly expiresAt: Date
  readonly limits: TokenLimits
}

export interface SelfToken {
  readonly token: string
  readonly id: string
  /** In ISO 8601, whole seconds. */
  readonly expiresAt: string
}

const TYPE = 'landfall-self+jwt'
/** What an edge takes; a longer life or text would be refused there. */
const MAX_LIFE_S = 30 * 86_400
const MAX_TOKEN_BYTES = 4_096
const ID_BYTES = 16

/** @throws CliError `cli_usage` for what no edge would take, and what the key's `sign` throws; Interrupted */
export async function signSelfToken(key: SigningKey, demand: TokenDemand): Promise<SelfToken> {
  const { audience, issuedAt, expiresAt, limits } = demand
  const [iat, exp] = [toSeconds(issuedAt), toSeconds(expiresAt)]
  if (exp <= iat) refuseUsage('--expires must be in the future.')
  if (exp - iat > MAX_LIFE_S) refuseUsage('--expires must be at most 30d from now.')
  const id = randomBytes(ID_BYTES).toString('base64url')
  const header = { alg: key.alg, typ: TYPE, kid: key.fingerprint }
  const input = `${toPart(header)}.${toPart({ aud: audience, iat, exp, jti: id, ...limits })}`
  const signature = await key.sign(Buffer.from(input))
  const token = `${input}.${signature.toString('base64url')}`
  if (token.length > MAX_TOKEN_BYTES)
    refuseUsage(`The token has ${token.length} characters, and ${MAX_TOKEN_BYTES} are the most.`)
  return { token, id, expiresAt: new Date(exp * 1_000).toISOString() }
}

function toPart(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

function toSeconds(moment: Date): number {
  return Math.floor(moment.getTime() / 1_000)
}
