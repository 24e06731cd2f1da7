/** `/v1/routes`: the routes as a resource of the admin API. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { formatAddress } from './address.ts'
import { refuseOtherMethods } from './admin-problems.ts'
import { type Kind, listRecords, notFound, type ReadDeps, sendRecord } from './admin-reads.ts'
import { RevisionConflict, RoutingError } from './errors.ts'
import { parseRouteHostname } from './hostname.ts'
import { checkWrite, parsePreconditions, toEtag } from './preconditions.ts'
import { parseRouteRecord, ROUTE_PREFIX } from './records.ts'
import { parseRouteBody } from './route-body.ts'
import { putRoute, type StoredRoute } from './vm-routes.ts'

export interface RoutesDeps extends ReadDeps {
  readonly domain: string
}

type ByHostname = { Params: { hostname: string } }
type RouteRequest = FastifyRequest<ByHostname>

const COLLECTION = '/v1/routes'
const ITEM = '/v1/routes/:hostname'
const ROUTES: Kind = {
  plural: 'routes',
  prefix: ROUTE_PREFIX,
  toView: ({ key, value, revision }) => toView({ route: parseRouteRecord(value, key), revision }),
}
/** Each lost attempt means that another writer succeeded. */
const MAX_ATTEMPTS = 100

export function addRoutes(app: FastifyInstance, deps: RoutesDeps): void {
  app.get(COLLECTION, (request) => listRecords(request, deps, ROUTES))
  app.get<ByHostname>(ITEM, (request, reply) => getRoute(request, reply, deps))
  app.put<ByHostname>(ITEM, (request, reply) => replaceRoute(request, reply, deps))
  app.delete<ByHostname>(ITEM, (request, reply) => deleteRoute(request, reply, deps))
  refuseOtherMethods(app, COLLECTION, ['GET', 'HEAD'])
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD', 'PUT', 'DELETE'])
}

async function getRoute(request: RouteRequest, reply: FastifyReply, { store }: RoutesDeps) {
  const hostname = parseRouteHostname(request.params.hostname)
  const document = await store.get(ROUTE_PREFIX + hostname)
  if (document === undefined) throw notFound(ROUTES, hostname)
  return sendRecord(reply, document, ROUTES)
}

async function replaceRoute(request: RouteRequest, reply: FastifyReply, deps: RoutesDeps) {
  const hostname = parseWritable(request.params.hostname, deps.domain)
  const wanted = { hostname, ...parseRouteBody(request.body) }
  const preconditions = parsePreconditions(request.headers)
  const key = ROUTE_PREFIX + hostname
  const { existed, result } = await writeAtRevision(deps.store, key, (current) => {
    checkWrite(preconditions, { key, current })
    return putRoute(deps.store, wanted, { ifRevision: current })
  })
  deps.log.info({ hostname, revision: result.revision, requestId: request.id }, 'a route was written')
  if (!existed) reply.code(201).header('location', `${COLLECTION}/${hostname}`)
  return reply.header('etag', toEtag(result.revision)).send(toView(result))
}

async function deleteRoute(request: RouteRequest, reply: FastifyReply, deps: RoutesDeps) {
  const hostname = parseWritable(request.params.hostname, deps.domain)
  const preconditions = parsePreconditions(request.headers)
  const key = ROUTE_PREFIX + hostname
  const { result } = await writeAtRevision(deps.store, key, async (current) => {
    // RFC 9110 section 13.2.1: preconditions do not count where the answer is an error anyway.
    if (current === 0) throw notFound(ROUTES, hostname)
    checkWrite(preconditions, { key, current })
    return deps.store.delete(key, { ifRevision: current })
  })
  deps.log.info({ hostname, revision: result, requestId: request.id }, 'a route was deleted')
  return reply.code(204).send()
}

/** Writes at the revision that was checked; when another's write comes between the two, both are done again. */
async function writeAtRevision<Result>(
  store: ReadDeps['store'],
  key: string,
  write: (current: number) => Promise<Result>,
): Promise<{ existed: boolean; result: Result }> {
  for (let attempt = 1; ; attempt += 1) {
    const current = (await store.get(key))?.revision ?? 0
    try {
      return { existed: current !== 0, result: await write(current) }
    } catch (error) {
      const isOvertaken = error instanceof RevisionConflict && error.current !== current
      if (!isOvertaken || attempt === MAX_ATTEMPTS) throw error
    }
  }
}

function parseWritable(text: string, domain: string): string {
  const hostname = parseRouteHostname(text)
  const isReserved = hostname === `admin.${domain}` || hostname === `auth.${domain}`
  if (isReserved) throw new RoutingError('api_hostname_reserved', { detail: `"${hostname}" is reserved.` })
  return hostname
}

function toView({ route, revision }: StoredRoute) {
  const { hostname, visibility, upstream, vm, port, state, generation } = route
  const bare = upstream && { upstream: formatAddress(upstream) }
  return { hostname, visibility, ...(vm === undefined ? bare : { vm, port }), state, generation, revision }
}
