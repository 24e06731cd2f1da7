/** The admin API's door: every request comes with a token, save those to the open pages. */

import type { FastifyInstance, FastifyRequest } from 'fastify'
import { digestOf } from '../../lib/digest.ts'
import { RoutingError } from '../errors.ts'
import { createTokenCheck } from './bootstrap-token.ts'
import { BOOTSTRAP_ID, BOOTSTRAP_KEY, type Caller, EVERYTHING, toCaller } from './caller.ts'
import type { ApiContext } from './context.ts'
import { type Credentials, loadSelfSignedCaller, mayBeSelfSigned } from './user-callers.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered without a token. */
    readonly isOpen?: true
    /** What the bootstrap token may do in a fleet. */
    readonly isForBootstrap?: true
  }
}

/** As `formatToken` makes it. */
const TOKEN_TEXT = /^lf_([A-Za-z0-9]{12})_([A-Za-z0-9_-]{43})$/

/** Has to be called before anything that asks for `request.caller`. */
export function setAuthentication(app: FastifyInstance, context: ApiContext): void {
  const authenticate = createAuthenticator(context)
  app.decorateRequest('caller')
  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'private, no-cache')
    if (request.routeOptions.config.isOpen) return
    request.caller = await authenticate({ token: tokenOf(request), address: findAddress(request) })
    if (context.isFleet && request.caller.id === BOOTSTRAP_ID) checkBootstrap(request)
  })
}

/**
 * Resolves who sent the token.
 * @throws RoutingError `api_unauthorized`, `api_rate_limited`; LandfallError when nobody can tell now whose it is
 */
function createAuthenticator(context: ApiContext): (credentials: Credentials) => Promise<Caller> {
  const isBootstrap = createTokenCheck(context.token)
  return async (credentials) => {
    if (mayBeSelfSigned(credentials.token)) return loadSelfSignedCaller(context, credentials)
    if (!isBootstrap(credentials.token)) return findTokenOwner(context, credentials)
    const isSpent = context.isFleet && (await context.store.get(BOOTSTRAP_KEY)) !== undefined
    return isSpent
      ? { id: BOOTSTRAP_ID, scopes: [], isSpent: true }
      : { id: BOOTSTRAP_ID, scopes: EVERYTHING }
  }
}

async function findTokenOwner({ tokens, now }: ApiContext, { token, address }: Credentials): Promise<Caller> {
  const [, id = '', secret = ''] = TOKEN_TEXT.exec(token) ?? []
  const record = id === '' ? undefined : await tokens.find(id, digestOf(secret), address)
  if (record === undefined) throw new RoutingError('api_unauthorized')
  return toCaller(record, now())
}

/**
 * The edge writes its peer last. Where that is a proxy that it trusts, the client is what that proxy saw, and further
 * to the left stands what anybody may have written.
 */
function findAddress({ headers }: FastifyRequest): string | undefined {
  const list = String(headers['x-forwarded-for'] ?? '').split(',')
  return (list.at(-2) ?? list.at(-1))?.trim()
}

/** @throws RoutingError `api_bootstrap_spent`, `api_bootstrap_only` */
function checkBootstrap({ caller, headers, routeOptions }: FastifyRequest): void {
  const { isForBootstrap } = routeOptions.config
  // The answer with the first token may have been lost on its way: with its key it can be had again.
  const isRepeat = isForBootstrap && headers['idempotency-key'] !== undefined
  if (caller.isSpent && !isRepeat) throw new RoutingError('api_bootstrap_spent')
  if (!isForBootstrap) throw new RoutingError('api_bootstrap_only')
}

/** @throws RoutingError `api_unauthorized`, `api_request_malformed` */
function tokenOf({ raw }: FastifyRequest): string {
  const [field = '', ...more] = raw.headersDistinct.authorization ?? []
  // Node takes the first and others take the last: who sends two wants two readers to disagree.
  if (more.length > 0) {
    throw new RoutingError('api_request_malformed', { detail: 'The Authorization header came twice.' })
  }
  const token = /^Bearer +(\S+)$/i.exec(field)?.[1]
  if (token === undefined) throw new RoutingError('api_unauthorized')
  return token
}
