/** `/v1/sessions` and `/v1/users/{user}/sessions`: who is logged in, and the end of that. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { latestEndOf, planRevocation } from '../logins/revocations.ts'
import { commitPlanned, type Edit } from '../records/edits.ts'
import { SESSION, type SessionRecord } from '../records/logins.ts'
import { laterOf } from '../records/moments.ts'
import { KEYS, type Kind, listRecords, SESSIONS, type Stored } from '../records/record-kinds.ts'
import { USER } from '../records/records.ts'
import { choiceOf, ID } from '../records/schema.ts'
import { toDeletion, toDerived } from '../vms/vm-plans.ts'
import { checkMay } from './caller.ts'
import { auditsOf, changeRecord, logChange, sendChanged } from './changes.ts'
import type { ApiContext } from './context.ts'
import { refuseOtherMethods } from './problems.ts'
import { getStored, isName, listPage, notFound, sendStored } from './reads.ts'
import { listingOf, NOTHING, pageQuery, strict, viewOf, withProblems } from './schemas.ts'

const COLLECTION = '/v1/sessions'
const ITEM = '/v1/sessions/:id'
const OF_USER = '/v1/users/:user/sessions'
/** Of one commit. */
const BATCH = 200
/** A token that a user signed lives for so long at most. */
const SELF_SIGNED_DAYS = 30
/** A clock may be a little off. */
const MARGIN_DAYS = 1
const DAY_MS = 86_400_000

const VIEW = viewOf(SESSION, {})
const PARAMS = Type.Object({ id: ID })
const USER_PARAMS = Type.Object({ user: USER })
const END_QUERY = strict({
  keys: Type.Optional({ ...choiceOf(['keep', 'delete']), description: '"keep" or "delete"' }),
})
const ENDED = Type.Object({
  user: USER,
  sessions: Type.Integer({ description: 'how many logins ended' }),
  keys: Type.Integer({ description: 'how many SSH keys of the user stay' }),
  deletedKeys: Type.Integer({ description: 'how many SSH keys of the user were deleted' }),
})
const LIST_QUERY = pageQuery({ user: Type.Optional(USER) })

type ById = { Params: Static<typeof PARAMS> }
type ByUser = { Params: Static<typeof USER_PARAMS>; Querystring: Static<typeof END_QUERY> }
type ListSessions = { Querystring: Static<typeof LIST_QUERY> }

export function addSessions(app: FastifyInstance, context: ApiContext): void {
  addReads(app, context)
  app.delete<ById>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Ends one login, and all that came of it',
        params: PARAMS,
        response: { 204: NOTHING },
      }),
    },
    (request, reply) => endSession(request, reply, context),
  )
  app.delete<ByUser>(
    OF_USER,
    {
      schema: withProblems({
        summary: 'Ends everything that lets a user in now',
        description:
          'All logins, and all tokens that the user signed so far. Who signs a token may date it ahead: with ' +
          '"keys=delete" the SSH keys of the user go in the same commit, and no token that they signed counts. Whoever ' +
          'can log in, or has a key that stays, may come again; grants stay.',
        params: USER_PARAMS,
        querystring: END_QUERY,
        response: { 200: ENDED },
      }),
    },
    (request, reply) => endUser(request, reply, context),
  )
  refuseOtherMethods(app, COLLECTION, ['GET', 'HEAD'])
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD', 'DELETE'])
  refuseOtherMethods(app, OF_USER, ['DELETE'])
}

/** They tell where people are logged in, so they are for those alone who could end them all. */
function addReads(app: FastifyInstance, context: ApiContext): void {
  app.get<ListSessions>(
    COLLECTION,
    {
      schema: withProblems({
        summary: 'Who is logged in',
        description: 'A page without sessions may still have a "next" to read on with.',
        querystring: LIST_QUERY,
        response: { 200: listingOf('sessions', VIEW) },
      }),
    },
    (request) => {
      checkMay(request.caller, 'admin', undefined)
      const { user: asked } = request.query
      const isShown = ({ user }: SessionRecord) => asked === undefined || user === asked
      return listPage(request, context, { kind: SESSIONS, plural: 'sessions', view, isShown })
    },
  )
  app.get<ById>(
    ITEM,
    { schema: withProblems({ summary: 'One login', params: PARAMS, response: { 200: VIEW } }) },
    async (request, reply) => {
      checkMay(request.caller, 'admin', undefined)
      return sendStored(reply, await getStored(context, SESSIONS, request.params.id), view)
    },
  )
}

async function endSession(request: FastifyRequest<ById>, reply: FastifyReply, context: ApiContext) {
  const { id } = request.params
  checkMay(request.caller, 'admin', undefined)
  const at = context.now()
  const changed = await changeRecord(request, context, {
    kind: SESSIONS,
    name: id,
    poolOf: () => undefined,
    plan: (before) => {
      if (before === undefined) throw notFound(SESSIONS, id)
      return undefined
    },
    toEdits: async (_after, before) => {
      const expiresAt = before?.record.expiresAt ?? latestEndOf(at)
      return [toDerived(await planRevocation(context.store, { kind: 'session', value: id, expiresAt, at }))]
    },
  })
  return sendChanged(reply, changed, { location: '', view })
}

/** What was signed so far is void with the first commit; the others only clear away. */
async function endUser(request: FastifyRequest<ByUser>, reply: FastifyReply, context: ApiContext) {
  const { user } = request.params
  checkMay(request.caller, 'admin', undefined)
  if (!isName(user)) throw notFound({ prefix: 'user/' }, user)
  const at = context.now()
  const deletedKeys = await revokeUser(request, context, at)
  const sessions = await clearSessions(context, user, at)
  const keys = (await listOf(context, KEYS, user)).length
  return reply.send({ user, sessions, keys, deletedKeys })
}

/** Resolves how many keys went. */
async function revokeUser(request: FastifyRequest<ByUser>, context: ApiContext, at: Date): Promise<number> {
  const { user } = request.params
  let deleted = 0
  for (;;) {
    const { plan } = await commitPlanned(
      context.store,
      async () => {
        const keys = request.query.keys === 'delete' ? await listOf(context, KEYS, user) : []
        const expiresAt = await endOf(context, user, at)
        const revocation = await planRevocation(context.store, { kind: 'user', value: user, expiresAt, at })
        const gone = keys.slice(0, BATCH)
        return { edits: [revocation, ...gone.map(toDeletion)], gone, isLast: keys.length <= BATCH }
      },
      ({ edits }) => auditsOf(request, context, { edits, pool: undefined }),
    )
    deleted += plan.gone.length
    for (const { key } of plan.edits) logChange(request, context, { key })
    if (plan.isLast) return deleted
  }
}

/** No login and no token of the user lives longer. */
async function endOf(context: ApiContext, user: string, at: Date): Promise<string> {
  const { longestDays } = context
  const days = Math.max(longestDays ?? 0, SELF_SIGNED_DAYS) + MARGIN_DAYS
  const longest = longestDays === undefined ? latestEndOf(at) : inDays(at, days)
  const sessions = await listSessions(context, user, at)
  return sessions.map(({ record }) => record.expiresAt).reduce(laterOf, longest)
}

function inDays(at: Date, days: number): string {
  return new Date(at.getTime() + days * DAY_MS).toISOString()
}

/** Resolves how many. */
async function clearSessions(context: ApiContext, user: string, until: Date): Promise<number> {
  for (let cleared = 0; ; ) {
    const { plan } = await commitPlanned(context.store, async () => {
      const sessions = await listSessions(context, user, until)
      const edits: readonly Edit[] = sessions.slice(0, BATCH).map((stored) => toDerived(toDeletion(stored)))
      return { edits, isLast: sessions.length <= BATCH }
    })
    cleared += plan.edits.length
    if (plan.isLast) return cleared
  }
}

/** Those that began by then. */
async function listSessions(
  context: ApiContext,
  user: string,
  until: Date,
): Promise<readonly Stored<SessionRecord>[]> {
  const sessions = await listOf(context, SESSIONS, user)
  return sessions.filter(({ record }) => Date.parse(record.createdAt) <= until.getTime())
}

async function listOf<Value extends { readonly user: string }>(
  { store }: ApiContext,
  kind: Kind<Value>,
  user: string,
): Promise<readonly Stored<Value>[]> {
  const found: Stored<Value>[] = []
  for await (const stored of listRecords(store, kind)) if (stored.record.user === user) found.push(stored)
  return found
}

function view({ record, revision }: Stored<SessionRecord>) {
  return { ...record, revision }
}
