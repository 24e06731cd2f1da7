/** What hosts and edges have in common as resources: a record made at their start, and a lease while they live. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type TObject, Type } from 'typebox'
import { RoutingError } from '../errors.ts'
import type { Kind, Stored } from '../records/record-kinds.ts'
import { INSTANT, LABEL } from '../records/schema.ts'
import { checkMay, may } from './caller.ts'
import { changeRecord, sendChanged } from './changes.ts'
import type { ApiContext } from './context.ts'
import { refuseOtherMethods } from './problems.ts'
import { getStored, listPage, notFound } from './reads.ts'
import { listingOf, NOTHING, pageQuery, viewOf, withProblems } from './schemas.ts'

export interface Members<Value extends Member> {
  readonly kind: Kind<Value>
  readonly schema: TObject
  /** In the singular, for OpenAPI. */
  readonly noun: string
  /** In addresses and listings. */
  readonly plural: string
}

interface Member {
  readonly name: string
}

const PARAMS = Type.Object({ name: LABEL })
type ByName = { Params: { name: string } }

/** They belong to no pool: a scope over all pools reaches them. */
export function addMembers<Value extends Member>(
  app: FastifyInstance,
  context: ApiContext,
  members: Members<Value>,
): void {
  const { noun, plural, schema } = members
  const [collection, item] = [`/v1/${plural}`, `/v1/${plural}/:name`]
  const view = viewOf(schema, {
    isAlive: Type.Boolean({ description: 'whether its process renews its lease' }),
    leaseExpiresAt: Type.Optional(INSTANT),
  })
  app.get(
    collection,
    {
      schema: withProblems({
        summary: `All ${plural}, dead ones too`,
        querystring: pageQuery({}),
        response: { 200: listingOf(plural, view) },
      }),
    },
    (request) => listMembers(request, context, members),
  )
  app.get<ByName>(
    item,
    { schema: withProblems({ summary: `One ${noun}`, params: PARAMS, response: { 200: view } }) },
    (request) => getMember(request, { context, ...members }),
  )
  app.delete<ByName>(
    item,
    {
      schema: withProblems({
        summary: `Forgets a dead ${noun}`,
        params: PARAMS,
        response: { 204: NOTHING },
      }),
    },
    (request, reply) => deleteMember(request, reply, { context, ...members }),
  )
  refuseOtherMethods(app, collection, ['GET', 'HEAD'])
  refuseOtherMethods(app, item, ['GET', 'HEAD', 'DELETE'])
}

type Parts<Value extends Member> = Members<Value> & { readonly context: ApiContext }

function listMembers<Value extends Member>(
  request: FastifyRequest,
  context: ApiContext,
  { kind, plural }: Members<Value>,
) {
  const isShown = () => may(request.caller, 'read', undefined)
  return listPage(request, context, { kind, plural, view: (stored) => viewMember(context, stored), isShown })
}

/** Without an ETag: `isAlive` changes although the record does not. */
async function getMember<Value extends Member>(
  { caller, params: { name } }: FastifyRequest<ByName>,
  { context, kind }: Parts<Value>,
) {
  if (!may(caller, 'read', undefined)) throw notFound(kind, name)
  return viewMember(context, await getStored(context, kind, name))
}

/** The process that is alive would write its record again. */
async function deleteMember<Value extends Member>(
  request: FastifyRequest<ByName>,
  reply: FastifyReply,
  { context, kind }: Parts<Value>,
) {
  const { name } = request.params
  checkMay(request.caller, 'admin', undefined)
  const changed = await changeRecord(request, context, {
    kind,
    name,
    poolOf: () => undefined,
    plan: async (before) => {
      if (before === undefined) throw notFound(kind, name)
      const { isAlive, leaseExpiresAt } = await lifeOf(context, before.key)
      if (isAlive)
        throw new RoutingError('api_member_alive', { detail: `Its lease lasts until ${leaseExpiresAt}.` })
      return undefined
    },
  })
  return sendChanged(reply, changed, { location: '', view: () => ({}) })
}

async function viewMember<Value extends Member>(
  context: ApiContext,
  { key, record, revision }: Stored<Value>,
) {
  return { ...record, ...(await lifeOf(context, key)), revision }
}

/** A process holds the lease that has its record's key as name. */
export async function lifeOf({ store }: Pick<ApiContext, 'store'>, key: string) {
  const lease = await store.findLease(key)
  if (lease === undefined) return { isAlive: false }
  return { isAlive: true, leaseExpiresAt: new Date(lease.expiresAt).toISOString() }
}
