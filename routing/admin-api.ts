/** The admin API: an HTTP server without a port, reached through in-memory connections that the edge relays to. */

import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { type Duplex, duplexPair } from 'node:stream'
import { type FastifyInstance, type FastifyRequest, fastify } from 'fastify'
import type { Log } from '../lib/log.ts'
import { answerBrokenConnection, sendProblem, setProblems } from './admin-problems.ts'
import { addRoutes } from './admin-routes.ts'
import { createTokenCheck } from './admin-token.ts'
import { addVms } from './admin-vms.ts'
import { RoutingError } from './errors.ts'
import type { Store } from './store.ts'

const BODY_LIMIT_BYTES = 65_536
/** A host name of 253 characters, each percent-encoded in up to 12. */
const MAX_PATH_PARAMETER = 4_096
const REQUEST_ID = /^[\w.-]{1,64}$/

const WELCOME = `This is the admin API of a Landfall edge.

Send "Authorization: Bearer <token>"; the token is in the file admin.token in the data folder (LANDFALL_DATA).

GET    /v1/routes?limit&after    all routes, a page at a time
GET    /v1/routes/{hostname}     one route; its ETag is its revision
PUT    /v1/routes/{hostname}     {"upstream": "127.0.0.1:9000", "visibility": "public"}
                                 {"vm": "hello", "port": 8000, "visibility": "private"}
DELETE /v1/routes/{hostname}
GET    /v1/vms?limit&after       all VMs
GET    /v1/vms/{name}            one VM

If-Match and If-None-Match are honoured. Errors are application/problem+json; "next" says what to do.
`

export interface AdminApi {
  /** A new connection to the API, as a socket would be. @throws RoutingError `api_closed` */
  connect(): Duplex
}

export interface AdminApiDeps {
  readonly store: Store
  readonly log: Log
}

export interface AdminApiSettings {
  readonly token: string
  /** The platform domain: `admin.<domain>` and `auth.<domain>` cannot be routed. */
  readonly domain: string
}

export async function startAdminApi(
  deps: AdminApiDeps,
  settings: AdminApiSettings,
): Promise<AdminApi & AsyncDisposable> {
  const app = createApp(deps.log)
  setProblems(app, deps.log)
  setDefence(app, settings.token)
  app.get('/', { config: { isOpen: true } }, (_request, reply) => reply.type('text/plain').send(WELCOME))
  addRoutes(app, { ...deps, domain: settings.domain })
  addVms(app, deps)
  await app.ready()
  return new PipedServer(app)
}

function createApp(log: Log): FastifyInstance {
  return fastify({
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
}

function findOrMakeRequestId(request: IncomingMessage): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID()
}

function setDefence(app: FastifyInstance, token: string): void {
  const isToken = createTokenCheck(token)
  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'private, no-cache')
    if (isOpen(request)) return
    const given = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
    if (given !== undefined && isToken(given)) return
    // RFC 6750 section 3: the error attribute only when a token was sent.
    const error = given === undefined ? '' : ', error="invalid_token"'
    reply.header('www-authenticate', `Bearer realm="landfall admin"${error}`)
    throw new RoutingError('api_unauthorized')
  })
}

function isOpen(request: FastifyRequest): boolean {
  return 'isOpen' in request.routeOptions.config && request.routeOptions.config.isOpen === true
}

/**
 * The http.Server never listens, so none of its time-outs run (Node starts them at 'listening') and its
 * close() knows no connections. The edge's own time-outs bound every connection from the other side;
 * ending them all at close is done here.
 */
class PipedServer implements AdminApi, AsyncDisposable {
  readonly #app: FastifyInstance
  readonly #connections = new Set<Duplex>()
  #isClosed = false

  constructor(app: FastifyInstance) {
    this.#app = app
  }

  connect(): Duplex {
    if (this.#isClosed) throw new RoutingError('api_closed')
    const [near, far] = duplexPair()
    endTogether(near, far)
    this.#connections.add(far)
    far.once('close', () => this.#connections.delete(far))
    this.#app.server.emit('connection', far)
    return near
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const connection of this.#connections) connection.destroy()
    await this.#app.close()
  }
}

// A destroyed side leaves the other one's pending write unanswered for ever, so each ends the other.
function endTogether(one: Duplex, other: Duplex): void {
  one.once('close', () => other.destroy())
  other.once('close', () => one.destroy())
}
