/** Who asks a VM host's own pages: the one credential of the request that counts, as at the gate. */

import type { FastifyRequest } from 'fastify'
import { AuthError } from '../errors.ts'
import { COOKIE_NAME, type Credential, type CredentialRequest, findCredential } from '../gate/credentials.ts'
import { checkPlace, checkPort, needsProof } from '../gate/passage-rules.ts'
import type { Identity } from '../identity.ts'
import { Audiences } from '../tokens/audiences.ts'
import type { Verified } from '../tokens/token-identity.ts'
import { mayEnter } from './access-of-person.ts'
import type { LoginContext, LoginRoute } from './context.ts'
import { findCookie } from './cookies.ts'
import { hostnameOf } from './request-origin.ts'

/**
 * Undefined for a stranger, as whom a bad cookie counts. @throws AuthError for a token that does not count here, be it
 * for want of its grant or of a proof
 */
export async function findVisitor(
  request: FastifyRequest,
  route: LoginRoute,
  context: LoginContext,
): Promise<Identity | undefined> {
  // On a public port Authorization is the app's; here there is no app, so a token counts in it as on a private one.
  const asked = { ...route, visibility: 'private' }
  const credential = findCredential(toCredentialRequest(request), asked, () => undefined)
  if (credential === undefined) return undefined
  if (credential.scheme === 'cookie') return findCookieVisitor(request, route, context)
  return verifyToken(request, { route, credential }, context)
}

/** By the cookie alone, for what browsers do: one that counts at this VM, with its grant when it is a link's. */
export async function findCookieVisitor(
  request: FastifyRequest,
  route: LoginRoute,
  context: LoginContext,
): Promise<Identity | undefined> {
  const identity = await findCookieOwner(request, route.hostname, context)
  return identity && orStranger(checked(identity, route, context))
}

/** Whose cookie the browser has for this host, whatever the name leads to now. */
export async function findCookieOwner(
  { headers, ip }: FastifyRequest,
  hostname: string,
  { authenticator }: LoginContext,
): Promise<Verified | undefined> {
  const text = findCookie(headers.cookie, COOKIE_NAME)
  if (text === undefined) return undefined
  return orStranger(authenticator.verify({ text, scheme: 'cookie' }, hostname, ip))
}

interface Presented {
  readonly route: LoginRoute
  readonly credential: Credential
}

async function verifyToken(
  request: FastifyRequest,
  { route, credential }: Presented,
  context: LoginContext,
): Promise<Identity> {
  const asked = toCredentialRequest(request)
  const vmOf = (hostname: string) => context.routes.find(hostname)?.vm
  const audiences = new Audiences({ authenticator: context.authenticator, vmOf })
  const identity = await audiences.verify({ request: asked, route, credential }, request.ip)
  if (needsProof(credential, asked.fields.proofCount, identity)) {
    await checkProof(request, { credential, identity }, context)
  }
  return checked(identity, route, context)
}

async function checkProof(
  { headers, ip, method, originalUrl }: FastifyRequest,
  { credential, identity }: { readonly credential: Credential; readonly identity: Verified },
  { authenticator, proofs }: LoginContext,
): Promise<void> {
  const { proofThumbprint: thumbprint = '' } = identity
  const demand = { token: credential.text, thumbprint, method, host: headers.host ?? '', target: originalUrl }
  await authenticator.spend(ip, () => proofs.check({ ...demand, proof: String(headers.dpop) }))
}

/** As the gate checks what passes, but for the bounds of a single request. Rejects with AuthError. */
async function checked(identity: Verified, route: LoginRoute, context: LoginContext): Promise<Identity> {
  checkPlace(identity, route)
  checkPort(identity.limits, route)
  const { kind } = identity
  if ((kind === 'token' || kind === 'link') && !mayEnter(identity, route, context))
    throw new AuthError('auth_invalid', 'no-live-grant')
  return identity
}

async function orStranger<Someone>(checked: Promise<Someone>): Promise<Someone | undefined> {
  try {
    return await checked
  } catch (error) {
    if (error instanceof AuthError && error.code === 'auth_invalid') return undefined
    throw error
  }
}

function toCredentialRequest({ headers, raw }: FastifyRequest): CredentialRequest {
  const count = (name: string) => raw.headersDistinct[name]?.length ?? 0
  const first = (name: string) => raw.headersDistinct[name]?.[0] ?? ''
  return {
    authority: { host: hostnameOf(headers.host) },
    fields: {
      cookie: headers.cookie ?? '',
      authorization: first('authorization'),
      authorizationCount: count('authorization'),
      ownAuthorization: first('x-landfall-authorization'),
      ownAuthorizationCount: count('x-landfall-authorization'),
      proofCount: count('dpop'),
      origin: headers.origin ?? '',
      fetchSite: first('sec-fetch-site'),
      fetchMode: first('sec-fetch-mode'),
      fetchDest: first('sec-fetch-dest'),
    },
    isUpgrade: false,
  }
}
