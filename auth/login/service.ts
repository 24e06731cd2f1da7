/** The login service: an HTTP server without a port, reached through in-memory connections that the edge relays to. */

import { randomUUID } from 'node:crypto'
import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import type { Log } from '../../lib/log.ts'
import { type Connectable, PipedServer } from '../../lib/piped-server.ts'
import { AuthError } from '../errors.ts'
import { createAddPath, leave, sendError, setAnswers } from './answers.ts'
import type { LoginContext, LoginDeps, LoginSettings } from './context.ts'
import { addLoginHost } from './login-host.ts'
import { addMethods } from './methods/method-context.ts'
import { hostnameOf } from './request-origin.ts'
import { createSealedTexts } from './sealed-text.ts'
import { createSeenSessions } from './seen-sessions.ts'
import { addVmHost } from './vm-host.ts'
import { createWriteLimits } from './write-limits.ts'

/** Our forms hold a sealed text and an address. */
const BODY_LIMIT_BYTES = 16_384
const REQUEST_ID = /^[\w.-]{1,64}$/
/**
 * Only the edge can connect, and it replaces X-Forwarded-For by the client, or appends the peer to what a trusted proxy
 * wrote. So the last two are somebody's word that counts, and whatever stands before them is anybody's.
 */
const TRUSTED_HOPS = 2
const PUBLIC_PATH = '/.well-known/'
/** In front of the path inside this process alone, so that neither side has the other's pages. */
const LOGIN_SIDE = '/login-host'
const VM_SIDE = '/vm-host'

export async function startLoginService(
  deps: LoginDeps,
  settings: LoginSettings,
): Promise<Connectable & AsyncDisposable> {
  const context = createContext(deps, settings)
  const app = createApp(context)
  const addLoginPath = createAddPath(app, LOGIN_SIDE)
  addLoginHost(addLoginPath, context)
  await addMethods(addLoginPath, context)
  addVmHost(createAddPath(app, VM_SIDE), context)
  await app.ready()
  return new PipedServer(app)
}

function createContext(deps: LoginDeps, settings: LoginSettings): LoginContext {
  const now = deps.now ?? Date.now
  return {
    ...deps,
    ...settings,
    now,
    texts: createSealedTexts(deps.sealer, now),
    limits: createWriteLimits(now),
    seenSessions: createSeenSessions(deps.access, now),
  }
}

function createApp(context: LoginContext): FastifyInstance {
  const { log, loginHost, jwks } = context
  const app = fastify({
    logger: false,
    trustProxy: (_address, hop) => hop < TRUSTED_HOPS,
    bodyLimit: BODY_LIMIT_BYTES,
    exposeHeadRoutes: false,
    genReqId: findOrMakeRequestId,
    rewriteUrl: ({ headers, url = '/' }) =>
      `${hostnameOf(headers.host) === loginHost ? LOGIN_SIDE : VM_SIDE}${url}`,
    // A path that cannot be read never comes to the error handler.
    frameworkErrors: (error, request, reply) => sendError(error, { request, reply, log }),
    clientErrorHandler: (error, socket) => answerBrokenConnection(error, { socket, log }),
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    async (_request: unknown, body: string | Buffer) => new URLSearchParams(String(body)),
  )
  setAnswers(app, log)
  app.addHook('onRequest', async (request, reply) => toHttps(request, reply, context))
  // Without a key nothing that was signed counts, and everybody would be a stranger or have a link that is gone.
  app.addHook('preHandler', async () => {
    if (jwks().keys.length === 0) throw new AuthError('auth_stale', 'no-signing-keys')
  })
  return app
}

/** Cookies of ours are for HTTPS alone: a login that begins without it could not end. Public keys are for everybody. */
async function toHttps(
  { headers, method, originalUrl }: FastifyRequest,
  reply: FastifyReply,
  { urlOf, loginHost, routes }: LoginContext,
): Promise<FastifyReply | undefined> {
  const isPlain = headers['x-forwarded-proto'] === 'http' && method === 'GET'
  if (!isPlain || originalUrl.startsWith(PUBLIC_PATH)) return undefined
  const hostname = hostnameOf(headers.host)
  if (hostname !== loginHost && routes.find(hostname) === undefined) return undefined
  return leave(reply, urlOf(hostname) + originalUrl.replace(/^\//, ''))
}

function findOrMakeRequestId(request: IncomingMessage): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID()
}

/** For bytes that are not HTTP, which the edge never sends: there is no request, only a connection to end. */
function answerBrokenConnection(error: Error, { socket, log }: { socket: Duplex; log: Log }): void {
  log.debug({ err: error }, 'the login service met a connection that is not HTTP')
  if (socket.writable)
    socket.end(`HTTP/1.1 400 ${STATUS_CODES[400]}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`)
}
