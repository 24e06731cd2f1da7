/** `/v1/pools`: what is bought, and where it is placed. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import { Type } from 'typebox'
import { RoutingError } from '../errors.ts'
import { HOSTS, listRecords, POOLS, type Stored, VMS } from '../records/record-kinds.ts'
import { POOL, type PoolRecord } from '../records/records.ts'
import { LABEL } from '../records/schema.ts'
import { checkMay, may } from './caller.ts'
import { changeRecord, sendChanged } from './changes.ts'
import type { ApiContext } from './context.ts'
import { closePool } from './pool-doors.ts'
import { refuseOtherMethods } from './problems.ts'
import { getStored, listPage, notFound, sendStored } from './reads.ts'
import { listingOf, NOTHING, pageQuery, strict, viewOf, withProblems } from './schemas.ts'
import { withdrawPool } from './token-gifts.ts'
import { toUserId } from './user-ids.ts'

const COLLECTION = '/v1/pools'
const ITEM = '/v1/pools/:pool'
const { cpuMillis, memoryBytes, diskBytes, ioBytesPerSecond, owner, host } = POOL.properties
const BODY = strict(
  { cpuMillis, memoryBytes, diskBytes, ioBytesPerSecond, owner, host },
  { examples: [{ cpuMillis: 2_000, memoryBytes: 4_294_967_296, diskBytes: 21_474_836_480 }] },
)
const VIEW = viewOf(POOL, {})
const PARAMS = Type.Object({ pool: LABEL })

type ByPool = { Params: Static<typeof PARAMS> }
type PutPool = ByPool & { Body: Static<typeof BODY> }

export function addPools(app: FastifyInstance, context: ApiContext): void {
  app.get(
    COLLECTION,
    {
      schema: withProblems({
        summary: 'All pools',
        querystring: pageQuery({}),
        response: { 200: listingOf('pools', VIEW) },
      }),
    },
    (request) => listPools(request, context),
  )
  app.get<ByPool>(
    ITEM,
    { schema: withProblems({ summary: 'One pool', params: PARAMS, response: { 200: VIEW } }) },
    (request, reply) => getPool(request, reply, context),
  )
  app.put<PutPool>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Buys a pool or changes its size',
        description: 'Without "host" it is placed on the live host with the most memory left.',
        params: PARAMS,
        body: BODY,
        response: { 200: VIEW, 201: VIEW },
      }),
    },
    (request, reply) => putPool(request, reply, context),
  )
  app.delete<ByPool>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Gives an empty pool back',
        params: PARAMS,
        response: { 204: NOTHING },
      }),
    },
    (request, reply) => deletePool(request, reply, context),
  )
  refuseOtherMethods(app, COLLECTION, ['GET', 'HEAD'])
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD', 'PUT', 'DELETE'])
}

function listPools(request: FastifyRequest, context: ApiContext) {
  const isShown = ({ name }: PoolRecord) => may(request.caller, 'read', name)
  return listPage(request, context, { kind: POOLS, plural: 'pools', view, isShown })
}

async function getPool(request: FastifyRequest<ByPool>, reply: FastifyReply, context: ApiContext) {
  const { pool } = request.params
  if (!may(request.caller, 'read', pool)) throw notFound(POOLS, pool)
  return sendStored(reply, await getStored(context, POOLS, pool), view)
}

async function putPool(request: FastifyRequest<PutPool>, reply: FastifyReply, context: ApiContext) {
  const { params, body } = request
  // A pool costs money: its owner may fill it, and only the operator may size it.
  checkMay(request.caller, 'admin', undefined)
  const changed = await changeRecord(request, context, {
    kind: POOLS,
    name: params.pool,
    poolOf: ({ name }) => name,
    plan: async (before) => ({
      name: params.pool,
      ...body,
      ...(body.owner !== undefined && { owner: toUserId(body.owner, '/owner') }),
      host: body.host ?? before?.record.host ?? (await findRoomiestHost(context, body)),
      createdAt: before?.record.createdAt ?? context.now().toISOString(),
    }),
  })
  return sendChanged(reply, changed, { location: `${COLLECTION}/${params.pool}`, view })
}

async function deletePool(request: FastifyRequest<ByPool>, reply: FastifyReply, context: ApiContext) {
  const { pool } = request.params
  checkMay(request.caller, 'admin', undefined)
  const changed = await changeRecord(request, context, {
    kind: POOLS,
    name: pool,
    poolOf: ({ name }) => name,
    plan: (before) => {
      if (before === undefined) throw notFound(POOLS, pool)
      return undefined
    },
    toEdits: async () => {
      const door = await closePool(context.store, pool)
      await checkEmpty(context, pool)
      return [door, ...(await withdrawPool(context.store, pool))]
    },
  })
  context.tokens.forget()
  return sendChanged(reply, changed, { location: '', view })
}

/** @throws RoutingError `api_pool_in_use` */
async function checkEmpty({ store }: ApiContext, pool: string): Promise<void> {
  for await (const { record } of listRecords(store, VMS)) {
    if (record.pool === pool)
      throw new RoutingError('api_pool_in_use', { detail: `The VM "${record.name}" is in it.` })
  }
}

/** The live host with the most memory that no pool has. @throws RoutingError `api_host_unavailable` */
async function findRoomiestHost(
  { store }: ApiContext,
  wanted: Pick<PoolRecord, 'memoryBytes'>,
): Promise<string> {
  const pools = await Array.fromAsync(listRecords(store, POOLS))
  let best: { readonly name: string; readonly freeBytes: number } | undefined
  for await (const { record } of listRecords(store, HOSTS)) {
    if ((await store.findLease(HOSTS.keyOf(record))) === undefined) continue
    const taken = pools.filter(({ record: pool }) => pool.host === record.name)
    const freeBytes = record.memoryBytes - taken.reduce((sum, { record: pool }) => sum + pool.memoryBytes, 0)
    if (best === undefined || freeBytes > best.freeBytes) best = { name: record.name, freeBytes }
  }
  if (best !== undefined && best.freeBytes >= wanted.memoryBytes) return best.name
  const detail =
    best === undefined
      ? 'No host is alive.'
      : `The roomiest host, "${best.name}", has ${Math.max(0, best.freeBytes)} bytes of memory left.`
  throw new RoutingError('api_host_unavailable', { detail })
}

function view({ record, revision }: Stored<PoolRecord>) {
  return { ...record, revision }
}
