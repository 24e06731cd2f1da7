/** `/v1/keys`: whose public SSH key is whose. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { RecordInvalid, RoutingError } from '../errors.ts'
import { KEYS, type Stored } from '../records/record-kinds.ts'
import { KEY, type KeyRecord } from '../records/records.ts'
import { ID } from '../records/schema.ts'
import { checkMay, may } from './caller.ts'
import { answerChanged, changeRecord, type RecordChange, sendChanged } from './changes.ts'
import type { ApiContext } from './context.ts'
import { type Answer, answerOnce } from './idempotency.ts'
import { refuseOtherMethods } from './problems.ts'
import { type PublicKey, parsePublicKey } from './public-key.ts'
import { getStored, listPage, notFound, sendStored } from './reads.ts'
import { listingOf, NOTHING, pageQuery, strict, viewOf, withProblems } from './schemas.ts'
import { toUserId } from './user-ids.ts'

const COLLECTION = '/v1/keys'
const ITEM = '/v1/keys/:id'
/** As records.ts has it. */
const MAX_LABEL = 200
const LINE = Type.String({
  maxLength: 1_000,
  description: 'a public key in one line, as "ssh-ed25519 AAAA… comment"',
})
const BODY = strict(
  { user: KEY.properties.user, publicKey: LINE, label: Type.Optional(KEY.properties.label) },
  {
    examples: [
      {
        user: 'ada@example.com',
        publicKey:
          'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ada@laptop',
      },
    ],
  },
)
const VIEW = viewOf(KEY, {
  publicKey: Type.String({ description: 'type and key, as in an authorized_keys file' }),
  fingerprint: Type.String({ description: 'as ssh-keygen prints it: "SHA256:…"' }),
})
const PARAMS = Type.Object({ id: ID })

type Body = Static<typeof BODY>
type ById = { Params: Static<typeof PARAMS> }
type PostKey = { Body: Body }
type PutKey = ById & { Body: Body }

export function addKeys(app: FastifyInstance, context: ApiContext): void {
  addReads(app, context)
  app.post<PostKey>(
    COLLECTION,
    { schema: withProblems({ summary: 'Adds a key', body: BODY, response: { 201: VIEW } }) },
    (request, reply) =>
      answerOnce(request, reply, context, { verb: 'admin', make: () => createKey(request, context) }),
  )
  app.put<PutKey>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Writes the key that has this fingerprint',
        params: PARAMS,
        body: BODY,
        response: { 200: VIEW, 201: VIEW },
      }),
    },
    (request, reply) => putKey(request, reply, context),
  )
  app.delete<ById>(
    ITEM,
    { schema: withProblems({ summary: 'Removes a key', params: PARAMS, response: { 204: NOTHING } }) },
    (request, reply) => deleteKey(request, reply, context),
  )
  refuseOtherMethods(app, COLLECTION, ['GET', 'HEAD', 'POST'])
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD', 'PUT', 'DELETE'])
}

function addReads(app: FastifyInstance, context: ApiContext): void {
  app.get(
    COLLECTION,
    {
      schema: withProblems({
        summary: 'All keys',
        querystring: pageQuery({}),
        response: { 200: listingOf('keys', VIEW) },
      }),
    },
    (request) => {
      const isShown = () => may(request.caller, 'read', undefined)
      return listPage(request, context, { kind: KEYS, plural: 'keys', view, isShown })
    },
  )
  app.get<ById>(
    ITEM,
    { schema: withProblems({ summary: 'One key', params: PARAMS, response: { 200: VIEW } }) },
    async (request, reply) => {
      const { id } = request.params
      if (!may(request.caller, 'read', undefined)) throw notFound(KEYS, id)
      return sendStored(reply, await getStored(context, KEYS, id), view)
    },
  )
}

async function createKey(request: FastifyRequest<PostKey>, context: ApiContext): Promise<Answer> {
  checkMay(request.caller, 'admin', undefined)
  const key = parsePublicKey(request.body.publicKey)
  const write = writeOf(context, key, request.body)
  const changed = await changeRecord(request, context, {
    ...write,
    plan: (before) => {
      if (before === undefined) return write.plan(before)
      const detail = `It is the key of "${before.record.user}": ${COLLECTION}/${key.id}.`
      throw new RoutingError('api_name_taken', { detail, context: { field: '/publicKey' } })
    },
  })
  return answerChanged(changed, { location: `${COLLECTION}/${key.id}`, view })
}

async function putKey(request: FastifyRequest<PutKey>, reply: FastifyReply, context: ApiContext) {
  checkMay(request.caller, 'admin', undefined)
  const key = parsePublicKey(request.body.publicKey)
  if (key.id !== request.params.id) {
    throw new RecordInvalid('/publicKey', `It must have the fingerprint in the path; it has ${key.id}.`)
  }
  const changed = await changeRecord(request, context, writeOf(context, key, request.body))
  return sendChanged(reply, changed, { location: `${COLLECTION}/${key.id}`, view })
}

async function deleteKey(request: FastifyRequest<ById>, reply: FastifyReply, context: ApiContext) {
  const { id } = request.params
  checkMay(request.caller, 'admin', undefined)
  const changed = await changeRecord(request, context, {
    kind: KEYS,
    name: id,
    poolOf: () => undefined,
    plan: (before) => {
      if (before === undefined) throw notFound(KEYS, id)
      return undefined
    },
  })
  return sendChanged(reply, changed, { location: '', view })
}

function writeOf(
  { now }: ApiContext,
  { id, type, publicKey, comment }: PublicKey,
  { user, label }: Body,
): RecordChange<KeyRecord> {
  return {
    kind: KEYS,
    name: id,
    poolOf: () => undefined,
    plan: (before) => ({
      id,
      user: toUserId(user, '/user'),
      type,
      publicKey,
      label: label ?? before?.record.label ?? comment.slice(0, MAX_LABEL),
      createdAt: before?.record.createdAt ?? now().toISOString(),
    }),
  }
}

function view({ record, revision }: Stored<KeyRecord>) {
  const fingerprint = `SHA256:${Buffer.from(record.id, 'base64url').toString('base64').replace(/=+$/, '')}`
  return { ...record, publicKey: `${record.type} ${record.publicKey}`, fingerprint, revision }
}
