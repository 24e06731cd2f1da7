/** `/v1/vms/{vm}/snapshots`: a VM's disk as it was; and `/v1/vms/{vm}/restore`, which puts it back. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { SNAPSHOTS, type Stored, VMS } from '../records/record-kinds.ts'
import { ID, LABEL } from '../records/schema.ts'
import { SNAPSHOT, type SnapshotRecord } from '../records/vm-affairs.ts'
import { may } from './caller.ts'
import { answerChanged } from './changes.ts'
import type { ApiContext } from './context.ts'
import { type Answer, answerOnce } from './idempotency.ts'
import { refuseOtherMethods } from './problems.ts'
import { getStored, listPage, notFound, sendStored } from './reads.ts'
import { listingOf, NOTHING, pageQuery, strict, viewOf, withProblems } from './schemas.ts'
import { waitForRestore, waitForSnapshot } from './snapshot-wait.ts'
import { createSnapshot, deleteSnapshot, restoreSnapshot } from './snapshot-writes.ts'
import { VM_VIEW, viewVm } from './vm-view.ts'
import { answerAnyway, inPlace, signalOf, WAIT_QUERY, type Waiting } from './waiting.ts'

const COLLECTION = '/v1/vms/:vm/snapshots'
const ITEM = '/v1/vms/:vm/snapshots/:id'
const RESTORE = '/v1/vms/:vm/restore'

const VIEW = viewOf(SNAPSHOT, {})
const VM_PARAMS = Type.Object({ vm: LABEL })
const PARAMS = Type.Object({ vm: LABEL, id: ID })
const BODY = strict({ label: SNAPSHOT.properties.label }, { examples: [{ label: 'before the upgrade' }] })
const RESTORE_BODY = strict({ snapshot: ID }, { examples: [{ snapshot: '0f3a9c21be44' }] })

type ByVm = { Params: Static<typeof VM_PARAMS> }
type ById = { Params: Static<typeof PARAMS> }
type PostSnapshot = ByVm & Waiting & { Body: Static<typeof BODY> }
type PostRestore = ByVm & Waiting & { Body: Static<typeof RESTORE_BODY> }

export function addSnapshots(app: FastifyInstance, context: ApiContext): void {
  addReads(app, context)
  addWrites(app, context)
  addRestore(app, context)
  refuseOtherMethods(app, COLLECTION, ['GET', 'HEAD', 'POST'])
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD', 'DELETE'])
  refuseOtherMethods(app, RESTORE, ['POST'])
}

function addReads(app: FastifyInstance, context: ApiContext): void {
  app.get<ByVm>(
    COLLECTION,
    {
      schema: withProblems({
        summary: 'The snapshots of a VM',
        description: 'Those of kind "kept" are what the disk was before a restore.',
        params: VM_PARAMS,
        querystring: pageQuery({}),
        response: { 200: listingOf('snapshots', VIEW) },
      }),
    },
    async (request) => {
      const vm = await getReadable(request, context)
      return listPage(request, context, {
        kind: SNAPSHOTS,
        plural: 'snapshots',
        below: `${vm.record.name}/`,
        view,
        isShown: ({ vmCreatedAt }) => vmCreatedAt === vm.record.createdAt,
      })
    },
  )
  app.get<ById>(
    ITEM,
    { schema: withProblems({ summary: 'One snapshot', params: PARAMS, response: { 200: VIEW } }) },
    async (request, reply) => {
      const vm = await getReadable(request, context)
      const name = `${vm.record.name}/${request.params.id}`
      const stored = await getStored(context, SNAPSHOTS, name)
      if (stored.record.vmCreatedAt !== vm.record.createdAt) throw notFound(SNAPSHOTS, name)
      return sendStored(reply, stored, view)
    },
  )
}

function addWrites(app: FastifyInstance, context: ApiContext): void {
  app.post<PostSnapshot>(
    COLLECTION,
    {
      schema: withProblems({
        summary: "Keeps a VM's disk as it is now",
        description: 'The VM runs on. With "wait" the answer comes when the snapshot is ready, or is 504.',
        params: VM_PARAMS,
        querystring: WAIT_QUERY,
        body: BODY,
        response: { 201: VIEW },
      }),
    },
    (request, reply) =>
      answerOnce(request, reply, context, {
        verb: 'write',
        make: () => inPlace(request, context, () => postSnapshot(request, reply, context)),
      }),
  )
  app.delete<ById>(
    ITEM,
    { schema: withProblems({ summary: 'Deletes a snapshot', params: PARAMS, response: { 204: NOTHING } }) },
    async (request, reply) => {
      await deleteSnapshot(request, context, request.params)
      return reply.code(204).send()
    },
  )
}

function addRestore(app: FastifyInstance, context: ApiContext): void {
  app.post<PostRestore>(
    RESTORE,
    {
      schema: withProblems({
        summary: "Makes a VM's disk what it was in a snapshot",
        description:
          'What the disk is now becomes a snapshot of kind "kept". The VM is stopped for it, and started again ' +
          'where it shall run. With "wait" the answer comes when that is done, or is 504.',
        params: VM_PARAMS,
        querystring: WAIT_QUERY,
        body: RESTORE_BODY,
        response: { 200: VM_VIEW, 202: VM_VIEW },
      }),
    },
    (request, reply) =>
      answerOnce(request, reply, context, {
        verb: 'write',
        make: () => inPlace(request, context, () => postRestore(request, reply, context)),
      }),
  )
}

async function getReadable({ caller, params: { vm } }: FastifyRequest<ByVm>, context: ApiContext) {
  const stored = await getStored(context, VMS, vm)
  if (!may(caller, 'read', stored.record.pool)) throw notFound(VMS, vm)
  return stored
}

async function postSnapshot(
  request: FastifyRequest<PostSnapshot>,
  reply: FastifyReply,
  context: ApiContext,
): Promise<Answer> {
  const { params, body, query } = request
  const made = await createSnapshot(request, context, { vm: params.vm, label: body.label })
  return answerAnyway(request, async () => {
    const after =
      query.wait === undefined
        ? made
        : await waitForSnapshot(context, { made, seconds: query.wait, signal: signalOf(reply) })
    const location = `/v1/vms/${params.vm}/snapshots/${made.record.id}`
    return answerChanged({ before: undefined, after, isNew: true }, { location, view })
  })
}

async function postRestore(
  request: FastifyRequest<PostRestore>,
  reply: FastifyReply,
  context: ApiContext,
): Promise<Answer> {
  const { params, body, query } = request
  const vm = await restoreSnapshot(request, context, { vm: params.vm, snapshot: body.snapshot })
  return answerAnyway(request, async () => {
    if (query.wait === undefined) return { status: 202, body: await viewVm(context, vm) }
    await waitForRestore(context, { vm, seconds: query.wait, signal: signalOf(reply) })
    return { status: 200, body: await viewVm(context, vm) }
  })
}

function view({ record, revision }: Stored<SnapshotRecord>) {
  return { ...record, revision }
}
