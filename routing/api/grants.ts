/** `/v1/vms/{vm}/grants`: who else gets in, to which ports, and for how long. */

import { randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { RecordInvalid, RoutingError } from '../errors.ts'
import { toEdit } from '../records/edits.ts'
import { GRANT, type GrantRecord } from '../records/grants.ts'
import { GRANTS, type Stored, VMS } from '../records/record-kinds.ts'
import type { VmRecord } from '../records/records.ts'
import { ID, LABEL } from '../records/schema.ts'
import { checkMay, may } from './caller.ts'
import { answerChanged, type Changed, sendChanged } from './changes.ts'
import type { ApiContext } from './context.ts'
import { GRANT_BODY, type GrantBody, toGrant } from './grant-bodies.ts'
import { checkReadable, planAdded, planTakingBack } from './grant-plans.ts'
import { type Answer, answerOnce } from './idempotency.ts'
import { refuseOtherMethods } from './problems.ts'
import { getStored, listPage, notFound, sendStored } from './reads.ts'
import { listingOf, NOTHING, pageQuery, viewOf, withProblems } from './schemas.ts'
import { findSound } from './vm-view.ts'
import { getAllowed, writeVm } from './vm-writes.ts'

const COLLECTION = '/v1/vms/:vm/grants'
const ITEM = '/v1/vms/:vm/grants/:id'
const ID_BYTES = 9

const VIEW = viewOf(GRANT, {})
const LIST_PARAMS = Type.Object({ vm: LABEL })
const PARAMS = Type.Object({ vm: LABEL, id: ID })

type ByVm = { Params: Static<typeof LIST_PARAMS> }
type ById = { Params: Static<typeof PARAMS> }
type PostGrant = ByVm & { Body: GrantBody }
type PutGrant = ById & { Body: GrantBody }

export function addGrants(app: FastifyInstance, context: ApiContext): void {
  addReads(app, context)
  app.post<PostGrant>(
    COLLECTION,
    {
      schema: withProblems({
        summary: 'Lets somebody in',
        description: 'Without "ports" the grant counts for the default port alone, whichever that is.',
        params: LIST_PARAMS,
        body: GRANT_BODY,
        response: { 201: VIEW },
      }),
    },
    (request, reply) =>
      answerOnce(request, reply, context, { verb: 'share', make: () => createGrant(request, context) }),
  )
  app.put<PutGrant>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Writes a grant under an id of your own',
        params: PARAMS,
        body: GRANT_BODY,
        response: { 200: VIEW, 201: VIEW },
      }),
    },
    (request, reply) => putGrant(request, reply, context),
  )
  app.delete<ById>(
    ITEM,
    { schema: withProblems({ summary: 'Takes a grant back', params: PARAMS, response: { 204: NOTHING } }) },
    (request, reply) => deleteGrant(request, reply, context),
  )
  refuseOtherMethods(app, COLLECTION, ['GET', 'HEAD', 'POST'])
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD', 'PUT', 'DELETE'])
}

function addReads(app: FastifyInstance, context: ApiContext): void {
  app.get<ByVm>(
    COLLECTION,
    {
      schema: withProblems({
        summary: 'The grants of a VM',
        params: LIST_PARAMS,
        querystring: pageQuery({}),
        response: { 200: listingOf('grants', VIEW) },
      }),
    },
    async (request) => {
      await checkReadable(request, context)
      const below = `${request.params.vm}/`
      return listPage(request, context, { kind: GRANTS, plural: 'grants', below, view, isShown: () => true })
    },
  )
  app.get<ById>(
    ITEM,
    { schema: withProblems({ summary: 'One grant', params: PARAMS, response: { 200: VIEW } }) },
    async (request, reply) => {
      await checkReadable(request, context)
      const { vm, id } = request.params
      return sendStored(reply, await getStored(context, GRANTS, `${vm}/${id}`), view)
    },
  )
}

async function createGrant(request: FastifyRequest<PostGrant>, context: ApiContext): Promise<Answer> {
  const id = randomBytes(ID_BYTES).toString('base64url')
  const changed = await writeGrant(request, context, { ...request.params, id })
  return answerChanged(changed, { location: locationOf(request.params.vm, id), view })
}

async function putGrant(request: FastifyRequest<PutGrant>, reply: FastifyReply, context: ApiContext) {
  const { vm, id } = request.params
  const changed = await writeGrant(request, context, { vm, id })
  return sendChanged(reply, changed, { location: locationOf(vm, id), view })
}

async function writeGrant(
  request: FastifyRequest<{ Body: GrantBody }>,
  context: ApiContext,
  { vm, id }: { readonly vm: string; readonly id: string },
): Promise<Changed<GrantRecord>> {
  const { plan, revision } = await writeVm(request, context, {
    vm,
    plan: async (parts) => {
      const { caller, body } = request
      const { pool } = getAllowed(caller, 'share', parts).record
      const peer = body.to.kind === 'vm' ? await getPeer(request, context, { vm, pool }) : undefined
      const record = toGrant(context, parts, { id, body, createdBy: caller.id, peer: peer?.record })
      const planned = planAdded(parts, record, context.now())
      const pins = peer ? [toEdit(peer.key, { before: peer, after: peer.record })] : []
      return { ...planned, edits: [...planned.edits, ...pins], record }
    },
  })
  const { before, record, target } = plan
  return { before, after: { key: target.key, record, revision }, isNew: target.current === 0 }
}

/**
 * The VM that is to be let in: of the same pool, or of another that is the caller's as well. Whether both are on one
 * host, where alone it can connect, changes with their pools' places, and is not looked at.
 */
async function getPeer(
  { caller, body: { to } }: FastifyRequest<{ Body: GrantBody }>,
  { store }: ApiContext,
  own: { readonly vm: string; readonly pool: string },
): Promise<Stored<VmRecord>> {
  const peer = await findSound(store, VMS, to.value)
  const pool = peer?.record.pool
  const context = { field: '/to/value' }
  if (peer === undefined || !(pool === own.pool || may(caller, 'read', pool) || may(caller, 'write', pool))) {
    throw new RoutingError('api_vm_unknown', { detail: `There is no VM "${to.value}".`, context })
  }
  if (to.value === own.vm) throw new RecordInvalid('/to/value', 'It must be another VM.')
  if (pool === own.pool) return peer
  checkMay(caller, 'write', own.pool)
  checkMay(caller, 'write', pool)
  return peer
}

async function deleteGrant(request: FastifyRequest<ById>, reply: FastifyReply, context: ApiContext) {
  const { vm, id } = request.params
  await writeVm(request, context, {
    vm,
    plan: async (parts) => {
      getAllowed(request.caller, 'share', parts)
      const plan = await planTakingBack(context, parts, id)
      if (plan.target.current === 0) throw notFound(GRANTS, `${vm}/${id}`)
      return plan
    },
  })
  return reply.code(204).send()
}

function locationOf(vm: string, id: string): string {
  return `/v1/vms/${vm}/grants/${id}`
}

function view({ record, revision }: Stored<GrantRecord>) {
  return { ...record, revision }
}
