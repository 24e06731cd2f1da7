/** The OpenID Connect provider as this edge knows it: found when it is first needed, kept, and found anew when it was away. */

import {
  allowInsecureRequests,
  type ClientAuth,
  ClientSecretBasic,
  ClientSecretPost,
  type Configuration,
  customFetch,
  discovery,
  enableNonRepudiationChecks,
} from 'openid-client'
import type { Log } from '../../../lib/log.ts'
import { isLoopback } from '../../../lib/loopback.ts'

/** Of each request to the provider, its body included. */
const TIMEOUT_S = 5
/** Endpoints move rarely; keys are looked after by the library. */
const FRESH_MS = 86_400_000
/** A provider that is away is not asked by every visitor. */
const PAUSE_MS = 1_000
const MAX_ANSWER_BYTES = 1_048_576

export interface OidcClientSettings {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  /** Of each request to the provider; 5 s unless given. */
  readonly timeoutS?: number
}

export interface OidcClient {
  /** Rejects with what the library says when the provider was never reached; a known one is used while it is away. */
  get(): Promise<Configuration>
}

/** `now`: milliseconds of a clock that never goes back. */
export function createOidcClient(
  settings: OidcClientSettings,
  log: Log,
  now = () => performance.now(),
): OidcClient {
  let known: { readonly configuration: Configuration; readonly at: number } | undefined
  let failed: { readonly error: unknown; readonly at: number } | undefined
  let underWay: Promise<Configuration> | undefined
  const find = async () => {
    try {
      const configuration = await discover(settings)
      known = { configuration, at: now() }
      return configuration
    } catch (error) {
      failed = { error, at: now() }
      log.warn({ err: error, issuer: settings.issuer }, 'the login provider was not found')
      if (known !== undefined) return known.configuration
      throw error
    } finally {
      underWay = undefined
    }
  }
  return {
    get: async () => {
      if (known !== undefined && now() - known.at < FRESH_MS) return known.configuration
      if (failed !== undefined && now() - failed.at < PAUSE_MS) {
        if (known !== undefined) return known.configuration
        throw failed.error
      }
      underWay ??= find()
      return underWay
    },
  }
}

async function discover({
  issuer,
  clientId,
  clientSecret,
  timeoutS = TIMEOUT_S,
}: OidcClientSettings): Promise<Configuration> {
  const url = new URL(issuer)
  const isPlain = url.protocol === 'http:' && isLoopback(url.hostname)
  return discovery(url, clientId, {}, createClientAuth(clientSecret), {
    timeout: timeoutS,
    // The library leaves ID tokens that came over TLS unchecked unless it is told to.
    execute: [enableNonRepudiationChecks, ...(isPlain ? [allowInsecureRequests] : [])],
    [customFetch]: fetchBounded,
  })
}

/** As the provider wants it; OpenID Connect Discovery section 3: client_secret_basic where it says nothing. */
function createClientAuth(secret: string): ClientAuth {
  const [basic, post] = [ClientSecretBasic(secret), ClientSecretPost(secret)]
  return (server, ...more) => {
    const methods = server.token_endpoint_auth_methods_supported ?? ['client_secret_basic']
    const isPost = methods.includes('client_secret_post') && !methods.includes('client_secret_basic')
    return (isPost ? post : basic)(server, ...more)
  }
}

/** What a provider names for an endpoint is asked without TLS on this machine alone, and answers only so much. */
async function fetchBounded(url: string, options: object): Promise<Response> {
  const { protocol, hostname } = new URL(url)
  if (protocol !== 'https:' && !isLoopback(hostname))
    throw new TypeError('the provider names a URL without TLS')
  const response = await fetch(url, options)
  if (response.body === null) return response
  const { status, statusText, headers } = response
  return new Response(response.body.pipeThrough(boundOf(MAX_ANSWER_BYTES)), { status, statusText, headers })
}

function boundOf(limit: number): TransformStream<Uint8Array, Uint8Array> {
  let count = 0
  return new TransformStream({
    transform(chunk, controller) {
      count += chunk.byteLength
      if (count > limit) controller.error(new TypeError('the provider answers too much'))
      else controller.enqueue(chunk)
    },
  })
}
