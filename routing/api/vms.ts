/** `/v1/vms`: what is wanted of each VM, and what its host says of it. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { RoutingError } from '../errors.ts'
import { VMS } from '../records/record-kinds.ts'
import type { VmRecord } from '../records/records.ts'
import { LABEL } from '../records/schema.ts'
import { planDeletion, planRecord, readBelongings } from '../vms/vm-plans.ts'
import { may } from './caller.ts'
import { answerChanged, type Changed } from './changes.ts'
import type { ApiContext } from './context.ts'
import { isGuest } from './guests.ts'
import { type Answer, answerOnce } from './idempotency.ts'
import { checkMatch, parsePreconditions, toEtag } from './preconditions.ts'
import { refuseOtherMethods } from './problems.ts'
import { getStored, listPage, notFound } from './reads.ts'
import { listingOf, NOTHING, pageQuery, withProblems } from './schemas.ts'
import { draftVm, POST_VM, PUT_VM, type VmBody } from './vm-bodies.ts'
import { createVmName } from './vm-names.ts'
import { VM_VIEW, viewVm } from './vm-view.ts'
import { type VmWait, waitForVm } from './vm-wait.ts'
import { getAllowed, type PlannedWrite, writeVm } from './vm-writes.ts'
import { answerAnyway, inPlace, signalOf, WAIT_QUERY, type Waiting } from './waiting.ts'

const COLLECTION = '/v1/vms'
const ITEM = '/v1/vms/:vm'
/** Made-up names that were taken: more in a row than chance gives. */
const MAX_NAMES = 20

const PARAMS = Type.Object({ vm: LABEL })
const LIST_QUERY = pageQuery({ pool: Type.Optional(LABEL) })
const WAITS = `With "wait" the answer comes when the URL leads to the running VM (or when it has stopped), or is 504.`

type ByVm = { Params: Static<typeof PARAMS> }
type ListVms = { Querystring: Static<typeof LIST_QUERY> }
type PutVm = ByVm & Waiting & { Body: VmBody }
type PostVm = Waiting & { Body: Static<typeof POST_VM> }

export function addVms(app: FastifyInstance, context: ApiContext): void {
  addReads(app, context)
  app.post<PostVm>(
    COLLECTION,
    {
      schema: withProblems({
        summary: 'Makes a VM, with a name of its own unless one is given',
        description: WAITS,
        querystring: WAIT_QUERY,
        body: POST_VM,
        response: { 201: VM_VIEW },
      }),
    },
    (request, reply) =>
      answerOnce(request, reply, context, {
        verb: 'write',
        make: () => inPlace(request, context, () => createVm(request, reply, context)),
      }),
  )
  app.put<PutVm>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Makes a VM, or changes what the body names',
        description: WAITS,
        params: PARAMS,
        querystring: WAIT_QUERY,
        body: PUT_VM,
        response: { 200: VM_VIEW, 201: VM_VIEW },
      }),
    },
    (request, reply) => inPlace(request, context, () => putVm(request, reply, context)),
  )
  app.delete<ByVm>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Deletes a VM with its host names, domains and grants',
        params: PARAMS,
        response: { 204: NOTHING },
      }),
    },
    (request, reply) => deleteVm(request, reply, context),
  )
  refuseOtherMethods(app, COLLECTION, ['GET', 'HEAD', 'POST'])
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD', 'PUT', 'DELETE'])
}

function addReads(app: FastifyInstance, context: ApiContext): void {
  app.get<ListVms>(
    COLLECTION,
    {
      schema: withProblems({
        summary: 'All VMs, or those of a pool',
        querystring: LIST_QUERY,
        response: { 200: listingOf('vms', VM_VIEW) },
      }),
    },
    (request) => {
      const { caller, query } = request
      const isShown = ({ pool }: VmRecord) => may(caller, 'read', pool) && pool === (query.pool ?? pool)
      return listPage(request, context, {
        kind: VMS,
        plural: 'vms',
        isShown,
        view: (stored) => viewVm(context, stored),
      })
    },
  )
  app.get<ByVm>(
    ITEM,
    { schema: withProblems({ summary: 'One VM', params: PARAMS, response: { 200: VM_VIEW } }) },
    (request, reply) => getVm(request, reply, context),
  )
}

/** The ETag is the record's; since its host's word changes on its own, the answer is never 304. */
async function getVm(
  { caller, params, headers }: FastifyRequest<ByVm>,
  reply: FastifyReply,
  context: ApiContext,
) {
  const stored = await getStored(context, VMS, params.vm)
  const isKnown = may(caller, 'read', stored.record.pool) || (await isGuest(context, caller, params.vm))
  if (!isKnown) throw notFound(VMS, params.vm)
  checkMatch(parsePreconditions(headers), { key: stored.key, current: stored.revision })
  return reply.header('etag', toEtag(stored.revision)).send(await viewVm(context, stored))
}

async function putVm(request: FastifyRequest<PutVm>, reply: FastifyReply, context: ApiContext) {
  const { params, body, query } = request
  const changed = await writeRecord(request, context, { name: params.vm, body, field: '/vm' })
  await waitIfAsked(context, reply, { vm: changed.after, seconds: query.wait })
  const { status, headers = {}, body: view } = await answerOf(context, changed)
  return reply.code(status).headers(headers).send(view)
}

async function createVm(
  request: FastifyRequest<PostVm>,
  reply: FastifyReply,
  context: ApiContext,
): Promise<Answer> {
  const changed = await createUnderFreeName(request, context)
  return answerAnyway(request, async () => {
    await waitIfAsked(context, reply, { vm: changed.after, seconds: request.query.wait })
    return answerOf(context, changed)
  })
}

async function waitIfAsked(
  context: ApiContext,
  reply: FastifyReply,
  { vm, seconds }: Pick<VmWait, 'vm'> & { readonly seconds: number | undefined },
): Promise<void> {
  if (seconds !== undefined) await waitForVm(context, { vm, seconds, signal: signalOf(reply) })
}

async function createUnderFreeName(request: FastifyRequest<PostVm>, context: ApiContext): Promise<WrittenVm> {
  const { name, ...body } = request.body
  const wanted = { body, field: '/name', isCreation: true } as const
  if (name !== undefined) return writeRecord(request, context, { ...wanted, name })
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await writeRecord(request, context, { ...wanted, name: createVmName() })
    } catch (error) {
      const isTaken = error instanceof RoutingError && error.code === 'api_name_taken'
      if (!isTaken || attempt === MAX_NAMES) throw error
    }
  }
}

interface WantedVm {
  readonly name: string
  readonly body: VmBody
  readonly field: '/vm' | '/name'
  /** True where a VM that exists is in the way. */
  readonly isCreation?: true
}

type WrittenVm = Changed<VmRecord> & { readonly after: NonNullable<Changed<VmRecord>['after']> }

async function writeRecord(
  request: FastifyRequest,
  context: ApiContext,
  { name, body, field, isCreation }: WantedVm,
): Promise<WrittenVm> {
  const key = VMS.prefix + name
  const { plan, revision } = await writeVm(request, context, {
    vm: name,
    plan: async (parts) => {
      const before = parts.vm
      if (isCreation && before) {
        throw new RoutingError('api_name_taken', { detail: `"${name}" is taken.`, context: { field } })
      }
      const { record, entry } = await draftVm(context, parts, { caller: request.caller, body, field })
      const current = before?.revision ?? parts.broken.get(key)?.revision ?? 0
      const { edits, after } = planRecord(parts, record, context.domain)
      const planned = { edits: [...edits, ...entry], after, field, sizeField: '/ports' }
      return { ...planned, before, record, target: { key, current }, pool: record.pool }
    },
  })
  const { before, record, target } = plan
  return { before, after: { key, record, revision }, isNew: target.current === 0 }
}

async function answerOf(context: ApiContext, changed: WrittenVm): Promise<Answer> {
  const view = await viewVm(context, changed.after)
  return answerChanged(changed, { location: `${COLLECTION}/${changed.after.record.name}`, view: () => view })
}

async function deleteVm(request: FastifyRequest<ByVm>, reply: FastifyReply, context: ApiContext) {
  const { params, caller } = request
  const key = VMS.prefix + params.vm
  for (let isLast = false; !isLast; ) {
    const { plan } = await writeVm(request, context, {
      vm: params.vm,
      plan: async (parts): Promise<PlannedWrite & { readonly isLast: boolean }> => {
        const broken = parts.broken.get(key)
        // Only who may do everything can tell that nobody needs what cannot be read.
        const isMending = broken !== undefined && may(caller, 'admin', undefined)
        const pool = isMending ? undefined : getAllowed(caller, 'write', parts).record.pool
        const deletion = planDeletion(parts, await readBelongings(context.store, parts, context.now()))
        const target = { key, current: parts.vm?.revision ?? broken?.revision ?? 0 }
        return { ...deletion.plan, isLast: deletion.isLast, target, pool }
      },
    })
    isLast = plan.isLast
  }
  return reply.code(204).send()
}
