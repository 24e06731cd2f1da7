/** The admin API: an HTTP server without a port, reached through in-memory connections that the edge relays to. */

import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { type FastifyInstance, fastify } from 'fastify'
import type { Log } from '../../lib/log.ts'
import { type Connectable, PipedServer } from '../../lib/piped-server.ts'
import { RoutingError } from '../errors.ts'
import { addAudit } from './audit.ts'
import { setAuthentication } from './authentication.ts'
import { addCalls } from './calls.ts'
import { addCertificates } from './certificates.ts'
import type { ApiContext, ApiDeps, ApiSettings } from './context.ts'
import { addDomains } from './domains.ts'
import { addEdges } from './edges.ts'
import { addEvents } from './events.ts'
import { addGrants } from './grants.ts'
import { addHosts } from './hosts.ts'
import { createKeyBudget } from './idempotency.ts'
import { addKeys } from './keys.ts'
import { addLinks } from './links.ts'
import { setOpenApi } from './openapi.ts'
import { addPools } from './pools.ts'
import { addPorts } from './ports.ts'
import { answerBrokenConnection, sendProblem, setProblems } from './problems.ts'
import { setRateLimit } from './rate-limit.ts'
import { addRoutes } from './routes.ts'
import { compileValidator } from './schemas.ts'
import { addSessions } from './sessions.ts'
import { addSnapshots } from './snapshots.ts'
import { addStatus } from './status.ts'
import { addTable } from './table.ts'
import { TokenLookup } from './token-lookup.ts'
import { addTokens } from './tokens.ts'
import { addUsage } from './usage.ts'
import { addVmTokens } from './vm-tokens.ts'
import { addVms } from './vms.ts'
import { createWaits } from './waiting.ts'
import { addWelcome } from './welcome.ts'
import { addWhoami } from './whoami.ts'

/** A token with 20 scopes, or a VM with 50 ports, has less than 5,000. */
const BODY_LIMIT_BYTES = 16_384
/** A host name of 253 characters, each percent-encoded in up to 12. */
const MAX_PATH_PARAMETER = 4_096
const REQUEST_ID = /^[\w.-]{1,64}$/

export async function startAdminApi(
  deps: ApiDeps,
  settings: ApiSettings,
): Promise<Connectable & AsyncDisposable> {
  const tokens = new TokenLookup({ ...deps, ...settings })
  const defaults = { now: () => new Date(), keyBudget: createKeyBudget(), waits: createWaits() }
  const context: ApiContext = { ...defaults, ...deps, ...settings, tokens }
  const app = createApp(deps.log)
  setProblems(app, deps.log)
  setAuthentication(app, context)
  await setRateLimit(app, context)
  await setOpenApi(app)
  addWelcome(app, context)
  addWhoami(app)
  addPools(app, context)
  addVms(app, context)
  addCalls(app, context)
  addSnapshots(app, context)
  addPorts(app, context)
  addGrants(app, context)
  addVmTokens(app, context)
  addLinks(app, context)
  addRoutes(app, context)
  addDomains(app, context)
  addCertificates(app, context)
  addTokens(app, context)
  addKeys(app, context)
  addSessions(app, context)
  addAudit(app, context)
  addHosts(app, context)
  addEdges(app, context)
  addUsage(app, context)
  addEvents(app, context)
  addStatus(app, context)
  addTable(app, context)
  await app.ready()
  return new PipedServer(app, () => new RoutingError('api_closed'))
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
