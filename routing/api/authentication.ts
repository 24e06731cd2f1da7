/** The admin API's door: every request comes with a token, save those to the open pages. */

import type { FastifyInstance, FastifyRequest } from 'fastify'
import { RoutingError } from '../errors.ts'
import { BOOTSTRAP_ID, createAuthenticator } from './caller.ts'
import type { ApiContext } from './context.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered without a token. */
    readonly isOpen?: true
    /** What the bootstrap token may do in a fleet. */
    readonly isForBootstrap?: true
  }
}

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
