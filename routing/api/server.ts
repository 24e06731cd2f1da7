/** The admin API: an HTTP server without a port, reached through in-memory connections that the edge relays to. */

import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { type FastifyInstance, type FastifyRequest, fastify } from 'fastify'
import type { Log } from '../../lib/log.ts'
import { RoutingError } from '../errors.ts'
import { createAuthenticator } from './caller.ts'
import type { ApiContext, ApiDeps, ApiSettings } from './context.ts'
import { setOpenApi } from './openapi.ts'
import { type AdminApi, PipedServer } from './piped-server.ts'
import { addPools } from './pools.ts'
import { answerBrokenConnection, sendProblem, setProblems } from './problems.ts'
import { compileValidator } from './schemas.ts'

const BODY_LIMIT_BYTES = 65_536
/** A host name of 253 characters, each percent-encoded in up to 12. */
const MAX_PATH_PARAMETER = 4_096
const REQUEST_ID = /^[\w.-]{1,64}$/

export async function startAdminApi(
  deps: ApiDeps,
  settings: ApiSettings,
): Promise<AdminApi & AsyncDisposable> {
  const context: ApiContext = { ...deps, ...settings, now: () => new Date() }
  const app = createApp(deps.log)
  setProblems(app, deps.log)
  setDefence(app, context)
  await setOpenApi(app)
  addPools(app, context)
  await app.ready()
  return new PipedServer(app)
}

function createApp(log: Log): FastifyInstance {
  const app = fastify({
    logger: false,
    // SAFETY: only the edge can connect, and it replaces every forwarding header.
    trustProxy: true,
    bodyLimit: BODY_LIMIT_BYTES,
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    routerOptions: { maxParamLength: MAX_PATH_PARAMETER },
    genReqId: findOrMakeRequestId,
    // A path that cannot be read never comes to the error handler.
    frameworkErrors: (error, request, reply) => sendProblem(error, { request, reply, log }),
    clientErrorHandler: (error, socket) => answerBrokenConnection(error, { socket, log }),
  })
  app.setValidatorCompiler(compileValidator)
  // The schemas of answers are for OpenAPI; what is sent is what the handlers return.
  app.setSerializerCompiler(() => JSON.stringify)
  return app
}

function findOrMakeRequestId(request: IncomingMessage): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID()
}

function setDefence(app: FastifyInstance, context: ApiContext): void {
  const authenticate = createAuthenticator(context)
  app.decorateRequest('caller')
  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'private, no-cache')
    if (isOpen(request)) return
    const given = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
    // RFC 6750 section 3: the error attribute only when a token was sent.
    const error = given === undefined ? '' : ', error="invalid_token"'
    reply.header('www-authenticate', `Bearer realm="landfall admin"${error}`)
    if (given === undefined) throw new RoutingError('api_unauthorized')
    request.caller = await authenticate(given)
    reply.removeHeader('www-authenticate')
  })
}

function isOpen(request: FastifyRequest): boolean {
  return 'isOpen' in request.routeOptions.config && request.routeOptions.config.isOpen === true
}
