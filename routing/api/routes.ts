/** `/v1/routes`: which host name leads where. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { formatAddress } from '../records/address.ts'
import { BINDINGS, findRecord, ROUTES, type Stored, VMS } from '../records/record-kinds.ts'
import { type BindingRecord, ROUTE, type RouteRecord } from '../records/records.ts'
import { LABEL } from '../records/schema.ts'
import { may } from './caller.ts'
import { sendChanged } from './changes.ts'
import type { ApiContext } from './context.ts'
import { type ByHostname, getHostname, HOSTNAME_PARAMS } from './hostnames.ts'
import { refuseOtherMethods } from './problems.ts'
import { getStored, listPage, notFound, sendStored } from './reads.ts'
import { parseRouteBody, ROUTE_BODY, type RouteBody } from './route-bodies.ts'
import { deleteRow, writeBareRow, writeBinding } from './route-writes.ts'
import { listingOf, NOTHING, pageQuery, viewOf, withProblems } from './schemas.ts'
import { findSound } from './vm-view.ts'

const COLLECTION = '/v1/routes'
const ITEM = '/v1/routes/:hostname'

const LIST_QUERY = pageQuery({ vm: Type.Optional(LABEL), pool: Type.Optional(LABEL) })
const VIEW = viewOf(ROUTE, {
  url: Type.String(),
  upstream: Type.Optional(Type.String({ description: 'of a bare address; a VM has its own' })),
})

type ListRoutes = { Querystring: Static<typeof LIST_QUERY> }
type PutRoute = ByHostname & { Body: RouteBody }

export function addRoutes(app: FastifyInstance, context: ApiContext): void {
  addReads(app, context)
  app.put<PutRoute>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Leads a host name to a VM, or to a bare address',
        description:
          'Without "port" it is the VM\'s default port, whichever that is; who gets in is set on the port. A bare address is for operators.',
        params: HOSTNAME_PARAMS,
        body: ROUTE_BODY,
        response: { 200: VIEW, 201: VIEW },
      }),
    },
    (request, reply) => putRoute(request, reply, context),
  )
  app.delete<ByHostname>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Takes a host name away from what it leads to',
        params: HOSTNAME_PARAMS,
        response: { 204: NOTHING },
      }),
    },
    async (request, reply) => {
      await deleteRow(request, context, getHostname(request, ROUTES))
      return reply.code(204).send()
    },
  )
  refuseOtherMethods(app, COLLECTION, ['GET', 'HEAD'])
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD', 'PUT', 'DELETE'])
}

function addReads(app: FastifyInstance, context: ApiContext): void {
  app.get<ListRoutes>(
    COLLECTION,
    {
      schema: withProblems({
        summary: 'All routes, or those of a VM or a pool',
        querystring: LIST_QUERY,
        response: { 200: listingOf('routes', VIEW) },
      }),
    },
    (request) => listRoutes(request, context),
  )
  app.get<ByHostname>(
    ITEM,
    { schema: withProblems({ summary: 'One route', params: HOSTNAME_PARAMS, response: { 200: VIEW } }) },
    (request, reply) => getRoute(request, reply, context),
  )
}

async function listRoutes(request: FastifyRequest<ListRoutes>, context: ApiContext) {
  const { caller, query } = request
  const view = (stored: Stored<RouteRecord>) => viewRoute(context, stored)
  if (query.vm !== undefined) return listVmRoutes(request, context, query.vm)
  const isShown = ({ pool }: RouteRecord) =>
    may(caller, 'read', pool) && (query.pool === undefined || query.pool === pool)
  return listPage(request, context, { kind: ROUTES, plural: 'routes', view, isShown })
}

/** By way of the VM's bindings: the whole table may have a million rows. */
async function listVmRoutes(request: FastifyRequest<ListRoutes>, context: ApiContext, vm: string) {
  const { caller, query } = request
  const { pool } = (await findRecord(context.store, VMS, vm))?.record ?? {}
  const isAllowed = pool !== undefined && may(caller, 'read', pool) && pool === (query.pool ?? pool)
  return listPage(request, context, {
    kind: BINDINGS,
    plural: 'routes',
    below: `${vm}/`,
    isShown: () => isAllowed,
    view: (binding) => viewBinding(context, binding, pool),
  })
}

async function viewBinding(
  context: ApiContext,
  { record: { vm, hostname, port = 80 }, revision }: Stored<BindingRecord>,
  pool: string | undefined,
) {
  const row = await findSound(context.store, ROUTES, hostname)
  if (row !== undefined) return viewRoute(context, row)
  const down = { visibility: 'private', state: 'stopped', generation: 0 } as const
  const record = { hostname, vm, port, ...(pool !== undefined && { pool }), ...down }
  return viewRoute(context, { key: ROUTES.prefix + hostname, record, revision })
}

async function getRoute(request: FastifyRequest<ByHostname>, reply: FastifyReply, context: ApiContext) {
  const hostname = getHostname(request, ROUTES)
  const stored = await getStored(context, ROUTES, hostname)
  if (!may(request.caller, 'read', stored.record.pool)) throw notFound(ROUTES, hostname)
  return sendStored(reply, stored, (shown) => viewRoute(context, shown))
}

async function putRoute(request: FastifyRequest<PutRoute>, reply: FastifyReply, context: ApiContext) {
  const hostname = getHostname(request, ROUTES)
  const target = parseRouteBody(request.body)
  const changed =
    'vm' in target
      ? await writeBinding(request, context, { hostname, ...target })
      : await writeBareRow(request, context, { hostname, ...target })
  const view = (stored: Stored<RouteRecord>) => viewRoute(context, stored)
  return sendChanged(reply, changed, { location: `${COLLECTION}/${hostname}`, view })
}

/** Where a VM is, inside the network, is not shown. */
function viewRoute({ urlOf }: ApiContext, { record, revision }: Stored<RouteRecord>) {
  const { upstream, ...shown } = record
  const isBare = upstream !== undefined && record.vm === undefined
  return {
    ...shown,
    ...(isBare && { upstream: formatAddress(upstream) }),
    url: urlOf(record.hostname),
    revision,
  }
}
