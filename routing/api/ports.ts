/** `/v1/vms/{vm}/ports`: which ports of a VM have a host name, who gets in, and which one its bare name leads to. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { RecordInvalid, RoutingError } from '../errors.ts'
import { REPORTS, type Stored, VMS } from '../records/record-kinds.ts'
import { type ReportRecord, VM_PORT, type VmRecord } from '../records/records.ts'
import { COUNT, LABEL, PORT } from '../records/schema.ts'
import { defaultPortOf, type VmParts } from '../vms/vm-parts.ts'
import { planRecord } from '../vms/vm-plans.ts'
import { may } from './caller.ts'
import { sendChanged } from './changes.ts'
import type { ApiContext } from './context.ts'
import { checkMatch, parsePreconditions, toEtag } from './preconditions.ts'
import { refuseOtherMethods } from './problems.ts'
import { getStored, notFound } from './reads.ts'
import { listingOf, NOTHING, pageQuery, strict, withProblems } from './schemas.ts'
import { MAX_DECLARED_PORTS } from './vm-bodies.ts'
import { findSound } from './vm-view.ts'
import { getAllowed, type PlannedWrite, writeVm } from './vm-writes.ts'

const COLLECTION = '/v1/vms/:vm/ports'
const ITEM = '/v1/vms/:vm/ports/:port'

const BODY = strict(
  {
    visibility: VM_PORT.properties.visibility,
    authorization: VM_PORT.properties.authorization,
    isDefault: Type.Optional(Type.Boolean({ description: 'true or false' })),
  },
  { examples: [{ visibility: 'public', isDefault: true }] },
)
const PARAMS = Type.Object({ vm: LABEL, port: PORT })
const FIELDS = {
  port: PORT,
  hostname: Type.Optional(Type.String()),
  url: Type.Optional(Type.String({ description: 'absent while no host name leads to the port' })),
  visibility: VM_PORT.properties.visibility,
  authorization: VM_PORT.properties.authorization,
  isDefault: Type.Boolean({ description: 'true for the port that the bare name leads to' }),
  isDeclared: Type.Boolean({ description: 'true when it has a host name of its own' }),
  isOpen: Type.Boolean({ description: 'true when the host reports that something listens' }),
}
const VIEW = Type.Object({ ...FIELDS, revision: COUNT })
const LIST_QUERY = pageQuery({})
const DEFAULT_LIMIT = 100

type ByVm = { Params: { vm: string } }
type ListPorts = ByVm & { Querystring: Static<typeof LIST_QUERY> }
type ByPort = { Params: Static<typeof PARAMS> }
type PutPort = ByPort & { Body: Static<typeof BODY> }

export function addPorts(app: FastifyInstance, context: ApiContext): void {
  addReads(app, context)
  app.put<PutPort>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Gives a port a host name and says who gets in',
        description:
          'With "authorization": "app" the VM reads Authorization itself; otherwise edges take tokens of the platform ' +
          'from it where the port is private.',
        params: PARAMS,
        body: BODY,
        response: { 200: VIEW, 201: VIEW },
      }),
    },
    (request, reply) => putPort(request, reply, context),
  )
  app.delete<ByPort>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Takes the host name of a port away',
        params: PARAMS,
        response: { 204: NOTHING },
      }),
    },
    (request, reply) => deletePort(request, reply, context),
  )
  refuseOtherMethods(app, COLLECTION, ['GET', 'HEAD'])
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD', 'PUT', 'DELETE'])
}

function addReads(app: FastifyInstance, context: ApiContext): void {
  app.get<ListPorts>(
    COLLECTION,
    {
      schema: withProblems({
        summary: 'The ports of a VM: those that are declared and those that are open',
        params: Type.Object({ vm: LABEL }),
        querystring: LIST_QUERY,
        response: { 200: listingOf('ports', Type.Object(FIELDS)) },
      }),
    },
    (request) => listPorts(request, context),
  )
  app.get<ByPort>(
    ITEM,
    { schema: withProblems({ summary: 'One port', params: PARAMS, response: { 200: VIEW } }) },
    (request, reply) => getPort(request, reply, context),
  )
}

interface Portal {
  readonly vm: VmRecord
  readonly report: ReportRecord | undefined
}

async function readVm({ caller, params }: FastifyRequest<ByVm>, context: ApiContext) {
  const vm = await getStored(context, VMS, params.vm)
  if (!may(caller, 'read', vm.record.pool)) throw notFound(VMS, params.vm)
  return { vm, report: await findSound(context.store, REPORTS, params.vm) }
}

async function listPorts(request: FastifyRequest<ListPorts>, context: ApiContext) {
  const { limit = DEFAULT_LIMIT, after = '0' } = request.query
  const { vm, report } = await readVm(request, context)
  const portal = { vm: vm.record, report: report?.record }
  const rest = portsOf(portal.vm, portal.report).filter((port) => port > Number(after))
  const page = rest.slice(0, limit)
  const next = rest.length > limit && { next: String(page.at(-1)) }
  return { ports: page.map((port) => viewPort(context, port, portal)), ...next }
}

/** The ETag is the VM's; since what is open changes on its own, the answer is never 304. */
async function getPort(request: FastifyRequest<ByPort>, reply: FastifyReply, context: ApiContext) {
  const { port } = request.params
  const { vm, report } = await readVm(request, context)
  if (!portsOf(vm.record, report?.record).includes(port)) throw noSuchPort(vm.record.name, port)
  checkMatch(parsePreconditions(request.headers), { key: vm.key, current: vm.revision })
  const view = viewPort(context, port, { vm: vm.record, report: report?.record })
  return reply.header('etag', toEtag(vm.revision)).send({ ...view, revision: vm.revision })
}

async function putPort(request: FastifyRequest<PutPort>, reply: FastifyReply, context: ApiContext) {
  const { params, body } = request
  const { port } = params
  const { plan, revision } = await writeVm(request, context, {
    vm: params.vm,
    plan: (parts) => {
      const before = getAllowed(request.caller, 'write', parts)
      const record = withPort(before.record, { port, ...body })
      return { ...planPort(context, parts, { port, before, record }), record, report: parts.report }
    },
  })
  const { record, report, target } = plan
  const after = { key: target.key, record, revision }
  const location = `/v1/vms/${params.vm}/ports/${port}`
  const view = { ...viewPort(context, port, { vm: record, report: report?.record }), revision }
  return sendChanged(
    reply,
    { before: undefined, after, isNew: target.current === 0 },
    { location, view: () => view },
  )
}

async function deletePort(request: FastifyRequest<ByPort>, reply: FastifyReply, context: ApiContext) {
  const { vm, port } = request.params
  await writeVm(request, context, {
    vm,
    plan: (parts) => {
      const before = getAllowed(request.caller, 'write', parts)
      const { [String(port)]: declared, ...ports } = before.record.ports
      if (declared === undefined) throw noSuchPort(vm, port)
      if (defaultPortOf(before.record, parts.report?.record) === port) throw defaultPortInUse(vm, port)
      return planPort(context, parts, { port, before, record: { ...before.record, ports } })
    },
  })
  return reply.code(204).send()
}

interface PortChange {
  readonly port: number
  readonly before: Stored<VmRecord>
  readonly record: VmRecord
}

/** For preconditions a port that is not declared does not exist, and one that is has the VM's revision. */
function planPort(
  { domain }: ApiContext,
  parts: VmParts,
  { port, before, record }: PortChange,
): PlannedWrite {
  const current = isDeclared(before.record, port) ? before.revision : 0
  const target = { key: before.key, current }
  return { ...planRecord(parts, VMS.parse(record), domain), target, pool: record.pool, field: '/port' }
}

/** @throws RecordInvalid when there would be too many */
function withPort(
  record: VmRecord,
  { port, visibility, authorization, isDefault }: Static<typeof BODY> & { readonly port: number },
): VmRecord {
  const ports = { ...record.ports, [String(port)]: { visibility, ...(authorization && { authorization }) } }
  if (!isDeclared(record, port) && Object.keys(ports).length > MAX_DECLARED_PORTS) {
    throw new RecordInvalid('/port', `The VM has ${MAX_DECLARED_PORTS} ports, and cannot have more.`)
  }
  const { port: chosen, ...rest } = record
  const isChosen = isDefault ?? chosen === port
  if (isChosen) return { ...rest, ports, port }
  return { ...rest, ports, ...(chosen !== undefined && chosen !== port && { port: chosen }) }
}

function isDeclared({ ports }: VmRecord, port: number): boolean {
  return Object.hasOwn(ports, String(port))
}

/** Those that are declared or open, and the default one, in order. */
function portsOf(vm: VmRecord, report: ReportRecord | undefined): readonly number[] {
  const known = [...Object.keys(vm.ports), ...Object.keys(report?.ports ?? {})].map(Number)
  return [...new Set([...known, defaultPortOf(vm, report)])].sort((one, other) => one - other)
}

function viewPort({ domain, urlOf }: ApiContext, port: number, { vm, report }: Portal) {
  const declared = vm.ports[String(port)]
  const isDefault = defaultPortOf(vm, report) === port
  const name = isDefault ? vm.name : isDeclared(vm, port) ? `${port}--${vm.name}` : undefined
  return {
    port,
    ...(name !== undefined && { hostname: `${name}.${domain}`, url: urlOf(`${name}.${domain}`) }),
    visibility: declared?.visibility ?? 'private',
    ...(declared?.authorization && { authorization: declared.authorization }),
    isDefault,
    isDeclared: isDeclared(vm, port),
    isOpen: report?.state === 'running' && Object.hasOwn(report.ports, String(port)),
  }
}

function noSuchPort(vm: string, port: number): RoutingError {
  const detail = `The VM "${vm}" has not declared the port ${port}: PUT it.`
  return new RoutingError('api_not_found', { detail })
}

function defaultPortInUse(vm: string, port: number): RoutingError {
  const detail = `The bare name of "${vm}" leads to the port ${port}; make another one the default first.`
  return new RoutingError('api_port_in_use', { detail, context: { field: '/port' } })
}
