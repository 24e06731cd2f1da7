/** What tokens and share links of a VM have in common: each is a grant, with a signed text that is in one answer alone. */

import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type Static, type TProperties, type TSchema, Type } from 'typebox'
import { GRANT, type GrantRecord } from '../records/grants.ts'
import { GRANTS, type Stored } from '../records/record-kinds.ts'
import { HOSTNAME, ID, INSTANT, LABEL } from '../records/schema.ts'
import type { VmParts } from '../vms/vm-parts.ts'
import { AUDIENCE_FIELDS, toAudience } from './audiences.ts'
import { answerChanged } from './changes.ts'
import type { ApiContext } from './context.ts'
import { checkReadable, checkRoom, planAdded } from './grant-plans.ts'
import type { Answer } from './idempotency.ts'
import { checkEnd } from './moments.ts'
import { getStored, listPage, notFound, sendStored } from './reads.ts'
import { listingOf, pageQuery, strict, withProblems } from './schemas.ts'
import { createTokenId } from './token-ids.ts'
import { getAllowed, writeVm } from './vm-writes.ts'

const { label, ports, createdAt, createdBy } = GRANT.properties

/** What every body has; none goes without an end. */
export const ISSUED_BODY_FIELDS = { label, expiresAt: INSTANT, ...AUDIENCE_FIELDS }
const ISSUED_BODY = strict(ISSUED_BODY_FIELDS)
export const LIST_PARAMS = Type.Object({ vm: LABEL })
export const PARAMS = Type.Object({ vm: LABEL, id: ID })

export type IssuedBody = Static<typeof ISSUED_BODY>
export type ByVm = { Params: Static<typeof LIST_PARAMS> }
export type ById = { Params: Static<typeof PARAMS> }

/** One of the two. */
export interface IssuedKind {
  /** The last part of its address. */
  readonly plural: 'tokens' | 'links'
  /** What a grant's record holds of it; its grantee is of that kind as well. */
  readonly member: 'token' | 'link'
}

/** What is shown of one; `own` are the fields of its kind alone. */
export function issuedFieldsOf<Fields extends TProperties>(own: Fields) {
  return Type.Object({
    ...{ id: ID, vm: LABEL, label, hostname: HOSTNAME, ports },
    ...own,
    ...{ expiresAt: INSTANT, createdAt, createdBy },
  })
}

export function toIssuedView({ record, revision }: Stored<GrantRecord>): object {
  const { to: _to, role: _role, via: _via, token, link, ...shown } = record
  return { ...shown, ...token, ...link, revision }
}

interface Reads extends IssuedKind {
  readonly view: TSchema
  readonly summaries: { readonly list: string; readonly one: string }
}

export function addIssuedReads(
  app: FastifyInstance,
  context: ApiContext,
  { plural, member, view, summaries }: Reads,
): void {
  const collection = `/v1/vms/:vm/${plural}`
  app.get<ByVm>(
    collection,
    {
      schema: withProblems({
        summary: summaries.list,
        description: 'They count among its grants. A page may have fewer than "limit", and still a "next".',
        params: LIST_PARAMS,
        querystring: pageQuery({}),
        response: { 200: listingOf(plural, view) },
      }),
    },
    async (request) => {
      await checkReadable(request, context)
      const below = `${request.params.vm}/`
      const isShown = (record: GrantRecord) => record[member] !== undefined
      return listPage(request, context, { kind: GRANTS, plural, below, view: toIssuedView, isShown })
    },
  )
  app.get<ById>(
    `${collection}/:id`,
    { schema: withProblems({ summary: summaries.one, params: PARAMS, response: { 200: view } }) },
    async (request, reply) => {
      await checkReadable(request, context)
      const { vm, id } = request.params
      const stored = await getStored(context, GRANTS, `${vm}/${id}`)
      if (stored.record[member] === undefined) throw noSuchIssued(member, id)
      return sendStored(reply, stored, toIssuedView)
    },
  )
}

export function noSuchIssued(member: IssuedKind['member'], id: string): Error {
  return notFound({ prefix: `${member}/` }, id)
}

export interface Issue extends IssuedKind {
  /** What the body says of it besides the common fields. @throws RecordInvalid */
  readonly own: () => object
  /** What only the answer has: the signed text. */
  readonly sign: (record: GrantRecord) => Promise<object>
}

export async function createIssued(
  request: FastifyRequest<ByVm & { Body: IssuedBody }>,
  context: ApiContext,
  issue: Issue,
): Promise<Answer> {
  const { vm } = request.params
  const id = createTokenId()
  const { plan, revision } = await writeVm(request, context, {
    vm,
    plan: async (parts) => {
      getAllowed(request.caller, 'share', parts)
      const record = toRecord(request, context, { id, parts, issue })
      checkRoom(parts.grants, context.now(), '')
      // Before the commit: what cannot be signed must leave no grant behind.
      return {
        ...planAdded(parts, record, context.now()),
        sizeField: '',
        record,
        signed: await issue.sign(record),
      }
    },
  })
  const { record, signed, target } = plan
  const after = { key: target.key, record, revision }
  const view = (stored: Stored<GrantRecord>) => ({ ...toIssuedView(stored), ...signed })
  return answerChanged(
    { before: undefined, after, isNew: true },
    { location: `/v1/vms/${vm}/${issue.plural}/${id}`, view, headers: { 'cache-control': 'no-store' } },
  )
}

interface Draft {
  readonly id: string
  readonly parts: VmParts
  readonly issue: Issue
}

/** @throws RecordInvalid */
function toRecord(
  { body, caller }: FastifyRequest<{ Body: IssuedBody }>,
  context: ApiContext,
  { id, parts, issue: { member, own } }: Draft,
): GrantRecord {
  const now = context.now()
  checkEnd(body.expiresAt, { now, tokenDays: context.tokenDays })
  const said = own()
  const { hostname, ports: opened } = toAudience(context, parts, body)
  return GRANTS.parse({
    id,
    vm: parts.name,
    to: { kind: member, value: id },
    role: 'viewer',
    ...(opened && { ports: opened }),
    expiresAt: body.expiresAt,
    ...(body.label !== undefined && { label: body.label }),
    [member]: { hostname, ...said },
    createdAt: now.toISOString(),
    createdBy: caller.id,
  })
}
