/** An OpenID Connect provider that answers what a test tells it, right or wrong. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { text as readText } from 'node:stream/consumers'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { Test } from 'tap'
import { originFor } from './origin.ts'

type Json = Readonly<Record<string, unknown>>
/** Undefined: no answer at all. */
export type ProviderAnswer = { readonly status: number; readonly body: Json | string } | undefined

export interface ProviderScript {
  /** Replaces members of the discovery document. */
  metadata?: Json
  discovery?: () => ProviderAnswer
  /** Replaces claims of the ID token; undefined ones are left out. */
  claims?: Json
  /** Of the ID token, instead of one signed with the provider's key. */
  idToken?: (claims: Json) => Promise<string>
  token?: (form: URLSearchParams, fields: IncomingMessage['headers']) => ProviderAnswer
  userinfo?: () => ProviderAnswer
}

export interface ScriptedProvider {
  readonly issuer: string
  /** May be changed at any time. */
  readonly script: ProviderScript
  /** `METHOD /path` in order. */
  readonly requests: readonly string[]
  /** Forms that came to the token endpoint. */
  readonly exchanges: readonly URLSearchParams[]
  /** Gives the query for the redirect URI, as after a login at the page of `authorizationUrl`. */
  authorize(authorizationUrl: string, other?: Readonly<Record<string, string | undefined>>): string
}

export async function scriptedProviderFor(t: Test, script: ProviderScript = {}): Promise<ScriptedProvider> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const requests: string[] = []
  const exchanges: URLSearchParams[] = []
  const nonces = new Map<string, string>()
  const state = { script, exchanges, nonces, issuer: '', privateKey, jwk: await exportJWK(publicKey) }
  const origin = await originFor(t, (request, response) => {
    requests.push(`${request.method} ${request.url}`)
    answer(state, request).then(
      (found) => found && send(response, found),
      (error: unknown) => send(response, { status: 500, body: String(error) }),
    )
  })
  state.issuer = `http://127.0.0.1:${origin.port}`
  return {
    issuer: state.issuer,
    script,
    requests,
    exchanges,
    authorize: (url, other = {}) => {
      const asked = new URL(url).searchParams
      const code = `code-${nonces.size}`
      nonces.set(code, asked.get('nonce') ?? '')
      const answered = { code, state: asked.get('state') ?? '', iss: state.issuer, ...other }
      const given = Object.entries(answered).filter(([, value]) => value !== undefined)
      return new URLSearchParams(given as [string, string][]).toString()
    },
  }
}

interface State {
  readonly script: ProviderScript
  readonly exchanges: URLSearchParams[]
  readonly nonces: ReadonlyMap<string, string>
  readonly issuer: string
  readonly privateKey: CryptoKey
  readonly jwk: object
}

async function answer(state: State, request: IncomingMessage): Promise<ProviderAnswer> {
  const { script, issuer } = state
  if (request.url === '/.well-known/openid-configuration') {
    return script.discovery
      ? script.discovery()
      : { status: 200, body: { ...metadataOf(issuer), ...script.metadata } }
  }
  if (request.url === '/jwks') {
    return { status: 200, body: { keys: [{ ...state.jwk, alg: 'ES256', use: 'sig', kid: 'one' }] } }
  }
  if (request.url === '/token') return exchange(state, request)
  if (request.url === '/userinfo')
    return script.userinfo ? script.userinfo() : { status: 200, body: { sub: 'ada' } }
  return { status: 404, body: {} }
}

function metadataOf(issuer: string): Json {
  return {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    userinfo_endpoint: `${issuer}/userinfo`,
    jwks_uri: `${issuer}/jwks`,
    response_types_supported: ['code'],
    id_token_signing_alg_values_supported: ['ES256'],
    authorization_response_iss_parameter_supported: true,
  }
}

async function exchange(state: State, request: IncomingMessage): Promise<ProviderAnswer> {
  const { script, issuer, nonces } = state
  const form = new URLSearchParams(await readText(request))
  state.exchanges.push(form)
  if (script.token !== undefined) return script.token(form, request.headers)
  const now = Math.floor(Date.now() / 1_000)
  const claims = {
    ...{ iss: issuer, aud: 'landfall', sub: 'ada', iat: now, exp: now + 60 },
    ...{ nonce: nonces.get(form.get('code') ?? ''), email: 'ada@example.test', email_verified: true },
    ...script.claims,
  }
  const sign = () =>
    new SignJWT(claims as never).setProtectedHeader({ alg: 'ES256', kid: 'one' }).sign(state.privateKey)
  const idToken = await (script.idToken?.(claims) ?? sign())
  return { status: 200, body: { access_token: 'access', token_type: 'Bearer', id_token: idToken } }
}

function send(response: ServerResponse, { status, body }: NonNullable<ProviderAnswer>): void {
  response.writeHead(status, { 'content-type': typeof body === 'string' ? 'text/html' : 'application/json' })
  response.end(typeof body === 'string' ? body : JSON.stringify(body))
}
