/** Login at an OpenID Connect provider: the code flow with PKCE, state and nonce (RFC 9700 section 2.1.1). */

import type { FastifyReply, FastifyRequest } from 'fastify'
import {
  authorizationCodeGrant,
  buildAuthorizationUrl,
  type Configuration,
  calculatePKCECodeChallenge,
  fetchUserInfo,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
} from 'openid-client'
import type { Log } from '../../../lib/log.ts'
import { findCookie, LOGGED_OUT_COOKIE } from '../cookies.ts'
import { LoginError } from '../errors.ts'
import type { Person } from '../login-store.ts'
import type { LoginFlow, LoginMethod, LoginMethodContext } from './login-method.ts'
import { createOidcClient, type OidcClient, type OidcClientSettings } from './oidc-client.ts'
import { toLoginError } from './oidc-failures.ts'
import { addFlow, type OidcFlow, takeFlow } from './oidc-flows.ts'
import { isComplete, type ProviderClaims, toPerson } from './oidc-person.ts'

const CALLBACK_PATH = '/oidc/callback'
const SCOPE = 'openid email profile'

export interface OidcLoginSettings extends OidcClientSettings {
  /** The claim that is a person's user id: 1–254 visible ASCII characters that never change and are nobody else's. */
  readonly userClaim: string
}

export function createOidcLogin(settings: OidcLoginSettings, log: Log): LoginMethod {
  const client = createOidcClient(settings, log)
  let added: OidcDeps | undefined
  return {
    name: 'oidc',
    title: `Log in at ${new URL(settings.issuer).host}`,
    add: (context) => {
      const deps = { context, client, log, userClaim: settings.userClaim }
      added = deps
      context.addPath(CALLBACK_PATH, { GET: (request, reply) => comeBack(deps, request, reply) })
    },
    begin: (request, reply, flow) => {
      if (added === undefined) throw new LoginError('login_unconfigured')
      return leaveFor(added, { request, reply, flow })
    },
  }
}

interface OidcDeps {
  readonly context: LoginMethodContext
  readonly client: OidcClient
  readonly log: Log
  readonly userClaim: string
}

interface Leaving {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly flow: LoginFlow
}

async function leaveFor(deps: OidcDeps, { request, reply, flow }: Leaving): Promise<FastifyReply> {
  const { context, log } = deps
  return logged(log, async () => {
    const configuration = await deps.client.get()
    const pending = { state: randomState(), nonce: randomNonce(), verifier: randomPKCECodeVerifier(), flow }
    addFlow(context, { reply, flow: pending })
    const url = buildAuthorizationUrl(configuration, {
      redirect_uri: context.origin() + CALLBACK_PATH,
      scope: SCOPE,
      state: pending.state,
      nonce: pending.nonce,
      code_challenge: await calculatePKCECodeChallenge(pending.verifier),
      code_challenge_method: 'S256',
      ...(isFresh(request) && { prompt: promptOf(configuration) }),
    })
    return context.leave(reply, url.href)
  })
}

/** The person asked for another account, or logged out here: the provider must not go on with the one it remembers. */
function isFresh({ query, headers }: FastifyRequest): boolean {
  return (
    (query as { fresh?: unknown }).fresh === '1' ||
    findCookie(headers.cookie, LOGGED_OUT_COOKIE) !== undefined
  )
}

/** OpenID Connect Core section 3.1.2.1; every provider knows `login`. */
function promptOf(configuration: Configuration): string {
  const { prompt_values_supported: known } = configuration.serverMetadata()
  return Array.isArray(known) && known.includes('select_account') ? 'select_account' : 'login'
}

async function comeBack(deps: OidcDeps, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { context, log } = deps
  const url = currentUrlOf(context, request)
  const states = url.searchParams.getAll('state')
  const state = states.length === 1 ? states[0] : undefined
  const pending = await logged(log, async () => takeFlow(context, { request, reply, state }))
  context.spend(request)
  const person = await loadOrLeadBack(deps, url, pending)
  return context.finish(reply, person, pending.flow)
}

/** Who comes back without a login is shown the way to begin it again. */
async function loadOrLeadBack(deps: OidcDeps, url: URL, pending: OidcFlow): Promise<Person> {
  try {
    return await logged(deps.log, () => loadPerson(deps, url, pending))
  } catch (error) {
    throw error instanceof LoginError ? deps.context.withWayBack(error, pending.flow) : error
  }
}

/** The library makes the redirect URI of it: it has to be the one that the provider was given. */
function currentUrlOf(context: LoginMethodContext, { originalUrl }: FastifyRequest): URL {
  const at = originalUrl.indexOf('?')
  return new URL(context.origin() + CALLBACK_PATH + (at < 0 ? '' : originalUrl.slice(at)))
}

async function loadPerson({ client, userClaim }: OidcDeps, url: URL, pending: OidcFlow): Promise<Person> {
  const configuration = await client.get()
  const tokens = await authorizationCodeGrant(configuration, url, {
    pkceCodeVerifier: pending.verifier,
    expectedState: pending.state,
    expectedNonce: pending.nonce,
    idTokenExpected: true,
  })
  const claims = tokens.claims()
  if (claims === undefined)
    throw new LoginError('login_provider_failed', { context: { reason: 'no-id-token' } })
  if (isComplete(claims, userClaim)) return toPerson([claims], userClaim)
  const more = await loadMore(configuration, tokens.access_token, claims.sub)
  return toPerson([claims, ...more], userClaim)
}

/** Many providers keep e-mail out of ID tokens (OpenID Connect Core section 5.4). */
async function loadMore(
  configuration: Configuration,
  token: string,
  subject: string,
): Promise<ProviderClaims[]> {
  if (configuration.serverMetadata().userinfo_endpoint === undefined) return []
  return [await fetchUserInfo(configuration, token, subject)]
}

/** One log line tells the operator why; the person is told what to do. */
async function logged<T>(log: Log, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    const error = toLoginError(thrown)
    const isPersons = error.fault.source === 'client'
    const fields = { err: error, code: error.code, ...error.context }
    log[isPersons ? 'info' : 'warn'](fields, 'a login at the provider failed')
    throw error
  }
}
