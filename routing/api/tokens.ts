/** `/v1/tokens`: who may call this API. A token's secret is in one answer, and nowhere else. */

import { randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { digestOf } from '../../lib/digest.ts'
import { RoutingError } from '../errors.ts'
import type { Edit } from '../records/edits.ts'
import { type Stored, TOKENS } from '../records/record-kinds.ts'
import { TOKEN, type TokenRecord } from '../records/records.ts'
import { ID } from '../records/schema.ts'
import { BOOTSTRAP_ID, BOOTSTRAP_KEY, type Caller, formatToken, may, type Scope } from './caller.ts'
import { answerChanged, changeRecord, sendChanged } from './changes.ts'
import type { ApiContext } from './context.ts'
import { type Answer, answerOnce } from './idempotency.ts'
import { refuseOtherMethods } from './problems.ts'
import { getStored, listPage, notFound, sendStored } from './reads.ts'
import { listingOf, NOTHING, pageQuery, strict, viewOf, withProblems } from './schemas.ts'
import { checkFirstToken, pinAnotherRuler, planGift } from './token-gifts.ts'
import { createTokenId } from './token-ids.ts'

const COLLECTION = '/v1/tokens'
const ITEM = '/v1/tokens/:id'
const SECRET_BYTES = 32

const { digest: _digest, ...SHOWN } = TOKEN.properties
const BODY = strict(
  { label: SHOWN.label, scopes: SHOWN.scopes, expiresAt: SHOWN.expiresAt },
  { examples: [{ label: 'deploy', scopes: [{ pool: 'web', verbs: ['read', 'write'] }] }] },
)
const VIEW = viewOf(Type.Object(SHOWN), {})
const MADE = viewOf(Type.Object(SHOWN), {
  token: Type.String({ description: 'the whole token; it is never shown again' }),
})
const PARAMS = Type.Object({ id: ID })

type ById = { Params: Static<typeof PARAMS> }
export type TokenBody = Static<typeof BODY>
type PostToken = { Body: TokenBody }

export function addTokens(app: FastifyInstance, context: ApiContext): void {
  addReads(app, context)
  app.post<PostToken>(
    COLLECTION,
    {
      config: { isForBootstrap: true },
      schema: withProblems({
        summary: 'Makes a token',
        description: 'The scopes, and how long it lives, can only be what the caller has itself.',
        body: BODY,
        response: { 201: MADE },
      }),
    },
    (request, reply) =>
      answerOnce(request, reply, context, { verb: 'admin', make: () => createToken(request, context) }),
  )
  app.delete<ById>(
    ITEM,
    { schema: withProblems({ summary: 'Ends a token', params: PARAMS, response: { 204: NOTHING } }) },
    (request, reply) => deleteToken(request, reply, context),
  )
  refuseOtherMethods(app, COLLECTION, ['GET', 'HEAD', 'POST'])
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD', 'DELETE'])
}

function addReads(app: FastifyInstance, context: ApiContext): void {
  app.get(
    COLLECTION,
    {
      schema: withProblems({
        summary: 'The tokens that the caller may end',
        querystring: pageQuery({}),
        response: { 200: listingOf('tokens', VIEW) },
      }),
    },
    (request) => {
      const isShown = (token: TokenRecord) => mayEnd(request.caller, token)
      return listPage(request, context, { kind: TOKENS, plural: 'tokens', view, isShown })
    },
  )
  app.get<ById>(
    ITEM,
    { schema: withProblems({ summary: 'One token', params: PARAMS, response: { 200: VIEW } }) },
    async (request, reply) => {
      const { id } = request.params
      const stored = await getStored(context, TOKENS, id)
      if (!mayEnd(request.caller, stored.record)) throw notFound(TOKENS, id)
      return sendStored(reply, stored, view)
    },
  )
}

async function createToken(request: FastifyRequest<PostToken>, context: ApiContext): Promise<Answer> {
  const { caller, body } = request
  const id = createTokenId()
  const secret = randomBytes(SECRET_BYTES).toString('base64url')
  const expiresAt = body.expiresAt ?? caller.expiresAt
  const changed = await changeRecord(request, context, {
    kind: TOKENS,
    name: id,
    poolOf: ({ scopes }) => findOnlyPool(scopes),
    plan: () => ({
      id,
      label: body.label,
      digest: digestOf(secret),
      scopes: body.scopes,
      ...(expiresAt !== undefined && { expiresAt }),
      createdAt: context.now().toISOString(),
      createdBy: caller.id,
    }),
    toEdits: async (made) => [
      ...(await planGift(context, { caller, wanted: body })),
      ...(context.isFleet && made?.createdBy === BOOTSTRAP_ID ? [await spendBootstrap(context, made)] : []),
    ],
  })
  const location = `${COLLECTION}/${id}`
  const made = (stored: Stored<TokenRecord>) => ({ ...view(stored), token: formatToken(id, secret) })
  return answerChanged(changed, { location, view: made, headers: { 'cache-control': 'no-store' } })
}

/** Of two edges that do this at once, one meets a conflict, plans anew and finds it done. */
async function spendBootstrap({ store }: ApiContext, made: TokenRecord): Promise<Edit> {
  if ((await store.get(BOOTSTRAP_KEY)) !== undefined) throw new RoutingError('api_bootstrap_spent')
  checkFirstToken(made)
  return { key: BOOTSTRAP_KEY, before: undefined, after: { at: made.createdAt, tokenId: made.id } }
}

async function deleteToken(request: FastifyRequest<ById>, reply: FastifyReply, context: ApiContext) {
  const { id } = request.params
  const changed = await changeRecord(request, context, {
    kind: TOKENS,
    name: id,
    poolOf: ({ scopes }) => findOnlyPool(scopes),
    plan: (before) => {
      if (before === undefined || !mayEnd(request.caller, before.record)) throw notFound(TOKENS, id)
      return undefined
    },
    toEdits: async (_after, before) =>
      context.isFleet && before ? pinAnotherRuler(context, before.record) : [],
  })
  context.tokens.forget()
  return sendChanged(reply, changed, { location: '', view })
}

/** Its own, and those that reach nowhere where the caller is not `admin`. */
function mayEnd(caller: Caller, { id, scopes }: TokenRecord): boolean {
  return caller.id === id || scopes.every(({ pool }) => may(caller, 'admin', pool))
}

/** For the audit record: what concerns several pools is shown to none of their owners. */
function findOnlyPool(scopes: readonly Scope[]): string | undefined {
  const [first, ...others] = new Set(scopes.map(({ pool }) => pool))
  return first === '*' || others.length > 0 ? undefined : first
}

function view({ record: { digest: _digest, ...shown }, revision }: Stored<TokenRecord>) {
  return { ...shown, revision }
}
