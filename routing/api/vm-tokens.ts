/** `/v1/vms/{vm}/tokens`: what programs send to get into a VM. A token is in one answer, and nowhere else. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { RecordInvalid } from '../errors.ts'
import { GRANT, type GrantRecord } from '../records/grants.ts'
import type { ApiContext } from './context.ts'
import { planTakingBack } from './grant-plans.ts'
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
import { MAX_JWT_CHARACTERS } from './user-callers.ts'
import { getAllowed, writeVm } from './vm-writes.ts'

const COLLECTION = '/v1/vms/:vm/tokens'
const ITEM = '/v1/vms/:vm/tokens/:id'
const VM_TOKENS: IssuedKind = { plural: 'tokens', member: 'token' }
const CONTROL = /\p{Cc}/u
/** No prefix with one of them covers a path that edges let through: some servers cut `;…` off a segment. */
const UNCLEAR_PATH = /\/\/|\/\.{1,2}(?:[/;]|$)/

const { methods, pathPrefix, ctx, proofThumbprint } = GRANT.properties.token.properties
const LIMITS = { methods, pathPrefix, ctx, proofThumbprint }
const BODY = strict(
  { ...ISSUED_BODY_FIELDS, ...LIMITS },
  { examples: [{ label: 'ci', expiresAt: '2027-01-01T00:00:00Z', methods: ['GET'], pathPrefix: '/api' }] },
)
const FIELDS = issuedFieldsOf(LIMITS)
const VIEW = viewOf(FIELDS, {})
const MADE = viewOf(FIELDS, {
  token: Type.String({ description: 'the whole token, a JWT; it is never shown again' }),
})

type Body = Static<typeof BODY>
type PostToken = ByVm & { Body: Body }

export function addVmTokens(app: FastifyInstance, context: ApiContext): void {
  const summaries = { list: 'The tokens of a VM', one: 'One token' }
  addIssuedReads(app, context, { ...VM_TOKENS, view: VIEW, summaries })
  app.post<PostToken>(
    COLLECTION,
    {
      schema: withProblems({
        summary: 'Makes a token for one host name of a VM',
        description:
          'It is for its own name unless "hostname" or "port" says otherwise, and for the port that the name leads ' +
          `to unless "ports" does; one for the VM's own name counts at the host names of these ports as well. It must end, within ${context.tokenDays} days.`,
        params: LIST_PARAMS,
        body: BODY,
        response: { 201: MADE },
      }),
    },
    (request, reply) =>
      answerOnce(request, reply, context, { verb: 'share', make: () => createToken(request, context) }),
  )
  app.delete<ById>(
    ITEM,
    {
      schema: withProblems({ summary: "Ends a VM's token", params: PARAMS, response: { 204: NOTHING } }),
    },
    (request, reply) => deleteToken(request, reply, context),
  )
  refuseOtherMethods(app, COLLECTION, ['GET', 'HEAD', 'POST'])
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD', 'DELETE'])
}

function createToken(request: FastifyRequest<PostToken>, context: ApiContext): Promise<Answer> {
  return createIssued(request, context, {
    ...VM_TOKENS,
    own: () => toLimits(request.body),
    sign: async (record) => ({ token: await sign(context, record) }),
  })
}

/** @throws RecordInvalid */
function toLimits(body: Body) {
  checkLimits(body)
  return {
    ...(body.methods && { methods: [...new Set(body.methods)].sort() }),
    ...(body.pathPrefix !== undefined && { pathPrefix: body.pathPrefix }),
    ...(body.ctx !== undefined && { ctx: body.ctx }),
    ...(body.proofThumbprint !== undefined && { proofThumbprint: body.proofThumbprint }),
  }
}

/** What would never let anything through is a mistake. @throws RecordInvalid */
function checkLimits({ methods: allowed = [], pathPrefix: prefix = '/', ctx: text = '' }: Body): void {
  if (CONTROL.test(text) || !text.isWellFormed()) {
    throw new RecordInvalid('/ctx', 'It must be without control characters: it is sent in a header field.')
  }
  const index = allowed.indexOf('CONNECT')
  if (index >= 0) {
    throw new RecordInvalid(`/methods/${index}`, 'It must not be CONNECT, which such a token never may.')
  }
  if (!UNCLEAR_PATH.test(prefix)) return
  throw new RecordInvalid('/pathPrefix', 'It must have no empty segment, and none that is "." or "..".')
}

/**
 * The grant ends to the millisecond, and the token with the second that this falls in.
 * @throws RecordInvalid when edges would not read it; LandfallError while no key can sign
 */
async function sign(
  { signer }: ApiContext,
  { id, ports: opened, expiresAt = '', token }: GrantRecord,
): Promise<string> {
  const claims = {
    ...(opened && { ports: opened }),
    ...(token?.methods && { methods: token.methods }),
    ...(token?.pathPrefix !== undefined && { path: token.pathPrefix }),
    ...(token?.ctx !== undefined && { ctx: token.ctx }),
    ...(token?.proofThumbprint !== undefined && { cnf: { jkt: token.proofThumbprint } }),
  }
  const signed = await signer.sign({
    kind: 'token',
    audience: token?.hostname ?? '',
    subject: `token:${id}`,
    id,
    expiresAt: toUnixSeconds(expiresAt),
    claims,
  })
  if (signed.length <= MAX_JWT_CHARACTERS) return signed
  const detail = `It must be shorter: the token would have ${signed.length} characters, of at most ${MAX_JWT_CHARACTERS}.`
  throw new RecordInvalid('/ctx', detail)
}

async function deleteToken(request: FastifyRequest<ById>, reply: FastifyReply, context: ApiContext) {
  const { vm, id } = request.params
  await writeVm(request, context, {
    vm,
    plan: async (parts) => {
      getAllowed(request.caller, 'share', parts)
      const plan = await planTakingBack(context, parts, id)
      if (plan.before?.record.token === undefined) throw noSuchIssued('token', id)
      return plan
    },
  })
  return reply.code(204).send()
}
