/** `/v1/vms/{vm}/links`: share links, which let in whoever opens them until they are closed or run out. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { GRANT, type GrantRecord } from '../records/grants.ts'
import { isPast } from '../records/moments.ts'
import { GRANTS } from '../records/record-kinds.ts'
import { choiceOf } from '../records/schema.ts'
import type { VmParts } from '../vms/vm-parts.ts'
import type { ApiContext } from './context.ts'
import { planEnd, planGrant } from './grant-plans.ts'
import { type Answer, answerOnce } from './idempotency.ts'
import {
  addIssuedReads,
  type ById,
  type ByVm,
  createIssued,
  ISSUED_BODY_FIELDS,
  type IssuedKind,
  issuedFieldsOf,
  LIST_PARAMS,
  noSuchIssued,
  PARAMS,
} from './issued-grants.ts'
import { toUnixSeconds } from './moments.ts'
import { refuseOtherMethods } from './problems.ts'
import { NOTHING, strict, viewOf, withProblems } from './schemas.ts'
import { getAllowed, type PlannedWrite, writeVm } from './vm-writes.ts'

const COLLECTION = '/v1/vms/:vm/links'
const ITEM = '/v1/vms/:vm/links/:id'
const LINKS: IssuedKind = { plural: 'links', member: 'link' }

const { needsLogin, isSingleUse, uses, closedAt } = GRANT.properties.link.properties
const BODY = strict(
  {
    ...ISSUED_BODY_FIELDS,
    needsLogin: Type.Optional(needsLogin),
    isSingleUse: Type.Optional(isSingleUse),
  },
  { examples: [{ label: 'demo', expiresAt: '2027-01-01T00:00:00Z', isSingleUse: true }] },
)
const FIELDS = issuedFieldsOf({ needsLogin, isSingleUse, uses, closedAt })
const VIEW = viewOf(FIELDS, {})
const MADE = viewOf(FIELDS, {
  url: Type.String({ description: 'the link; it is never shown again' }),
})
const DELETE_QUERY = strict({
  access: Type.Optional({ ...choiceOf(['keep', 'end']), description: '"keep" or "end"' }),
})

type Body = Static<typeof BODY>
type PostLink = ByVm & { Body: Body }
type DeleteLink = ById & { Querystring: Static<typeof DELETE_QUERY> }

export function addLinks(app: FastifyInstance, context: ApiContext): void {
  const summaries = { list: 'The share links of a VM, closed ones included', one: 'One share link' }
  addIssuedReads(app, context, { ...LINKS, view: VIEW, summaries })
  app.post<PostLink>(
    COLLECTION,
    {
      schema: withProblems({
        summary: 'Makes a share link',
        description:
          'Whoever opens it gets in: with "needsLogin" (so unless it is false) after a login, and then by a grant of ' +
          'their own; without it until the link runs out. With "isSingleUse" it works once. It must end, within ' +
          `${context.tokenDays} days.`,
        params: LIST_PARAMS,
        body: BODY,
        response: { 201: MADE },
      }),
    },
    (request, reply) =>
      answerOnce(request, reply, context, { verb: 'share', make: () => createLink(request, context) }),
  )
  app.delete<DeleteLink>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Closes a share link',
        description:
          'Nobody new gets in; who is in stays. "access=end" ends what it let in as well. One that has run out is deleted.',
        params: PARAMS,
        querystring: DELETE_QUERY,
        response: { 204: NOTHING },
      }),
    },
    (request, reply) => deleteLink(request, reply, context),
  )
  refuseOtherMethods(app, COLLECTION, ['GET', 'HEAD', 'POST'])
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD', 'DELETE'])
}

function createLink(request: FastifyRequest<PostLink>, context: ApiContext): Promise<Answer> {
  return createIssued(request, context, {
    ...LINKS,
    own: () => toTerms(request.body),
    sign: async (record) => ({ url: await toUrl(context, record) }),
  })
}

function toTerms({ needsLogin: isAsked = true, isSingleUse: isOnce = false }: Body) {
  return { needsLogin: isAsked, isSingleUse: isOnce, uses: 0 }
}

async function toUrl({ signer, urlOf }: ApiContext, record: GrantRecord): Promise<string> {
  const { id, vm, expiresAt = '', link } = record
  const hostname = link?.hostname ?? ''
  const signed = await signer.sign({
    kind: 'link',
    audience: hostname,
    subject: `link:${id}`,
    id,
    expiresAt: toUnixSeconds(expiresAt),
    claims: { vm, login: link?.needsLogin ?? true },
  })
  // Edges answer it themselves, on every host name.
  const url = new URL('/.landfall/share', urlOf(hostname))
  url.searchParams.set('link', signed)
  return url.href
}

async function deleteLink(request: FastifyRequest<DeleteLink>, reply: FastifyReply, context: ApiContext) {
  const { vm, id } = request.params
  await writeVm(request, context, {
    vm,
    plan: (parts) => {
      getAllowed(request.caller, 'share', parts)
      const before = parts.grants.find(({ record }) => record.id === id && record.link !== undefined)
      if (before === undefined) throw noSuchIssued('link', id)
      if (request.query.access === 'end') return planEnd(parts, before)
      return planClosing(parts, before.record, context.now())
    },
  })
  return reply.code(204).send()
}

/** One that has run out lets nobody in anyway. */
function planClosing(parts: VmParts, record: GrantRecord, now: Date): PlannedWrite {
  const { link, ...rest } = record
  if (link === undefined || isPast(record.expiresAt, now)) return planGrant(parts, record.id, undefined)
  const closed = { ...rest, link: { ...link, closedAt: link.closedAt ?? now.toISOString() } }
  return planGrant(parts, record.id, GRANTS.parse(closed))
}
