/** Which hosts see a token besides the API itself, and which token that is. */

import type { Environment } from '../lib/env-reader.ts'
import type { Connection } from './connection.ts'
import { CliError } from './errors.ts'
import { isJwt } from './kinds.ts'
import { signSelfToken } from './self-token.ts'
import { loadSigningKey } from './signing-key.ts'

export interface Signing {
  readonly env: Environment
  readonly signal: AbortSignal
  readonly now: () => Date
}

const ADMIN = 'admin.'

/**
 * The token for the edge at `url`: only where that edge serves the platform that the API belongs to. A JWT is for the
 * API's own name and for no other, so the SSH key that signed it signs one for this name, where it is at hand.
 * @throws Interrupted
 */
export async function findEdgeToken(
  { url: api, token }: Connection,
  url: string,
  signing: Signing,
): Promise<string | undefined> {
  if (!isSamePlatform(api, url)) return undefined
  return isJwt(token) ? signAnother(token, new URL(url).hostname, signing) : token
}

/** `https://admin.<domain>` and `https://<one label>.<domain>`, at the same port. */
function isSamePlatform(api: string, url: string): boolean {
  const [own, other] = [URL.parse(api), URL.parse(url)]
  if (own?.protocol !== 'https:' || other?.protocol !== 'https:' || own.port !== other.port) return false
  const { hostname } = other
  const domain = hostname.slice(hostname.indexOf('.') + 1)
  return hostname.indexOf('.') > 0 && domain !== '' && own.hostname === `${ADMIN}${domain}`
}

/** As long as the first: the tunnel ends with it. Undefined where another key has signed that, or none is there. */
async function signAnother(
  jwt: string,
  audience: string,
  { env, signal, now }: Signing,
): Promise<string | undefined> {
  const { kid, exp } = readJwt(jwt)
  if (kid === undefined || exp === undefined) return undefined
  try {
    const key = await loadSigningKey({ file: undefined, env, signal, warn: () => {} })
    if (key.fingerprint !== kid) return undefined
    const demand = { audience, issuedAt: now(), expiresAt: new Date(exp * 1_000), limits: {} }
    return (await signSelfToken(key, demand)).token
  } catch (error) {
    if (error instanceof CliError) return undefined
    throw error
  }
}

/** What a JWT says of itself, unchecked: it is this user's own. */
function readJwt(jwt: string): { readonly kid?: string; readonly exp?: number } {
  try {
    const [head = '', body = ''] = jwt.split('.')
    const [{ kid }, { exp }] = [head, body].map((part) =>
      JSON.parse(Buffer.from(part, 'base64url').toString()),
    )
    return { ...(typeof kid === 'string' && { kid }), ...(Number.isSafeInteger(exp) && { exp }) }
  } catch {
    return {}
  }
}
