/** `/v1/certificates/{hostname}`: what certificate a host name has, what is wrong with it, uploads, and renewal at once. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { RecordInvalid, RoutingError } from '../errors.ts'
import { choiceOf } from '../records/schema.ts'
import type { Document } from '../store/store.ts'
import { checkMay, may } from './caller.ts'
import type { CertificateUpload, ChangeNote } from './certificate-desk.ts'
import { type CertificateName, getCertificateName } from './certificate-names.ts'
import { auditsOf, logChange } from './changes.ts'
import type { ApiContext } from './context.ts'
import { type ByHostname, HOSTNAME_PARAMS } from './hostnames.ts'
import { answerOnce } from './idempotency.ts'
import { Places } from './places.ts'
import { refuseOtherMethods } from './problems.ts'
import { NOTHING, strict, withProblems } from './schemas.ts'
import { signalOf } from './waiting.ts'

const ITEM = '/v1/certificates/:hostname'
const RENEW = '/v1/certificates/:hostname/renew'
/** A chain and a key of 80 KiB together, with their line ends escaped. */
const BODY_LIMIT_BYTES = 131_072
const MAX_CHAIN = 65_536
const MAX_KEY = 16_384
/** 64 KiB in base64. */
const MAX_PKCS12 = 87_384
const MAX_PASSPHRASE = 1_024

const QUERY = strict({ check: Type.Optional(choiceOf(['true', 'false'])) })
const BODY = strict(
  {
    certificate: Type.Optional(textOf(MAX_CHAIN, 'a chain in PEM, the leaf first')),
    key: Type.Optional(textOf(MAX_KEY, 'a private key in PEM, without a passphrase')),
    pkcs12: Type.Optional(textOf(MAX_PKCS12, 'a PKCS#12 file in base64')),
    passphrase: Type.Optional(textOf(MAX_PASSPHRASE, 'the passphrase of "pkcs12"')),
  },
  {
    examples: [
      {
        certificate: '-----BEGIN CERTIFICATE-----\nMIIB…\n-----END CERTIFICATE-----\n',
        key: '-----BEGIN PRIVATE KEY-----\nMIGH…\n-----END PRIVATE KEY-----\n',
      },
    ],
  },
)
const STEP = Type.Object({
  step: Type.String({ description: 'route, dns, caa, delegation, budget, ca, order or certificate' }),
  state: Type.String({ description: 'right, wrong, unknown or waiting' }),
  detail: Type.String(),
  next: Type.Optional(Type.String({ description: 'what the owner of the name does about it' })),
})
const CERTIFICATE = Type.Object({
  keyType: Type.String({ description: 'ec or rsa' }),
  names: Type.Array(Type.String(), { description: 'the host names that it is shown for' }),
  source: Type.String({ description: 'acme or upload' }),
  issuer: Type.String(),
  notBefore: Type.String(),
  notAfter: Type.String(),
  fingerprint: Type.String({ description: 'SHA-256' }),
  ca: Type.Optional(Type.String({ description: 'the directory of its authority' })),
  renewAt: Type.Optional(Type.String()),
})
const VIEW = Type.Object({
  hostname: Type.String(),
  state: Type.String({ description: 'served, pending, waiting (for a next try) or none' }),
  steps: Type.Array(STEP, { description: 'all that has to be right, one thing after the other' }),
  certificates: Type.Array(CERTIFICATE),
  lastError: Type.Optional(Type.Object({ code: Type.String(), detail: Type.String(), at: Type.String() })),
  nextTryAt: Type.Optional(Type.String()),
})

type GetCertificate = ByHostname & { Querystring: Static<typeof QUERY> }
type PutCertificate = ByHostname & { Body: Static<typeof BODY> }

export function addCertificates(app: FastifyInstance, context: ApiContext): void {
  // A check asks DNS and authorities, an upload is read with some CPU.
  const places = new Places({ perEdge: 60, perTenant: 10, what: 'looks at certificates under way' })
  const files = new Places({ perEdge: 8, perTenant: 1, what: 'PKCS#12 files being read' })
  addReads(app, context, places)
  addWrites(app, context, { places, files })
  app.post<ByHostname>(
    RENEW,
    {
      schema: withProblems({
        summary: 'Orders a new certificate now',
        description: 'Budgets still count. The certificate of today is served until the new one is there.',
        params: HOSTNAME_PARAMS,
        response: { 200: VIEW },
      }),
    },
    (request, reply) =>
      answerOnce(request, reply, context, { verb: 'write', make: () => renew(request, context) }),
  )
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD', 'PUT', 'DELETE'])
  refuseOtherMethods(app, RENEW, ['POST'])
}

function addReads(app: FastifyInstance, context: ApiContext, places: Places): void {
  app.get<GetCertificate>(
    ITEM,
    {
      schema: withProblems({
        summary: 'The certificate of a host name',
        description:
          'With ?check=true DNS and the certificate authority are asked, which may take 15 seconds.',
        params: HOSTNAME_PARAMS,
        querystring: QUERY,
        response: { 200: VIEW },
      }),
    },
    async (request, reply) => {
      const { hostname } = await getAllowed(request, context, 'read')
      if (request.query.check !== 'true') return context.certificates.view(hostname)
      return inPlace(request, places, () => context.certificates.check(hostname, signalOf(reply)))
    },
  )
}

interface WritePlaces {
  readonly places: Places
  /** Who wrote a PKCS#12 file chooses how long it takes to be opened: 10 s at most, and few are at once. */
  readonly files: Places
}

function addWrites(app: FastifyInstance, context: ApiContext, { places, files }: WritePlaces): void {
  app.put<PutCertificate>(
    ITEM,
    {
      bodyLimit: BODY_LIMIT_BYTES,
      schema: withProblems({
        summary: 'Uploads a certificate with its key',
        description:
          'Either "certificate" and "key", or "pkcs12". It is served instead of an ordered one, and renewed by nobody.',
        params: HOSTNAME_PARAMS,
        body: BODY,
        response: { 200: VIEW },
      }),
    },
    async (request) => {
      const name = await getAllowed(request, context, 'write')
      const upload = toUpload(request.body)
      // Reading it may take so long that the name is somebody else's by then.
      const right = { note: noteOf(request, context, name), ...(name.domain && { basis: name.domain }) }
      return inPlace(request, 'pkcs12' in upload ? files : places, () =>
        context.certificates.upload(name.hostname, upload, right),
      )
    },
  )
  app.delete<ByHostname>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Removes an uploaded certificate; then one is ordered again',
        params: HOSTNAME_PARAMS,
        response: { 204: NOTHING },
      }),
    },
    (request, reply) => remove(request, reply, context),
  )
}

async function remove(request: FastifyRequest<ByHostname>, reply: FastifyReply, context: ApiContext) {
  const name = await getAllowed(request, context, 'write')
  const isRemoved = await context.certificates.remove(name.hostname, noteOf(request, context, name))
  if (isRemoved) return reply.code(204).send()
  const detail = `No certificate was uploaded for "${name.hostname}".`
  throw new RoutingError('api_not_found', { detail })
}

async function renew(request: FastifyRequest<ByHostname>, context: ApiContext) {
  const name = await getAllowed(request, context, 'write')
  const body = await context.certificates.renew(name.hostname, noteOf(request, context, name))
  return { status: 200, body }
}

/** @throws RoutingError `api_not_found`, `api_forbidden`, `api_domain_unproven`; RecordInvalid */
async function getAllowed(
  request: FastifyRequest<ByHostname>,
  context: ApiContext,
  verb: 'read' | 'write',
): Promise<CertificateName> {
  const { caller } = request
  const name = await getCertificateName(request, context)
  if (may(caller, verb, undefined)) return name
  if (name.place !== 'outside') checkMay(caller, verb, undefined)
  const isSeen = name.domain !== undefined && (may(caller, 'read', name.pool) || may(caller, verb, name.pool))
  if (!isSeen) throw new RoutingError('api_not_found', { detail: `There is no domain "${name.hostname}".` })
  checkMay(caller, verb, name.pool)
  if (name.domain?.record.state === 'proven') return name
  const detail = `"${name.hostname}" is not proven yet: GET /v1/domains/${name.hostname} says which DNS record it takes.`
  throw new RoutingError('api_domain_unproven', { detail, context: { field: '/hostname' } })
}

/** The desk writes to the store by itself: what it is about to write is recorded before, or is not written. */
function noteOf(
  request: FastifyRequest,
  context: ApiContext,
  { pool }: Pick<CertificateName, 'pool'>,
): ChangeNote {
  return async ({ key, before, after }) => {
    const edit = {
      key,
      before: before && { value: { ...before } as Document, revision: 0 },
      after: after && ({ ...after } as Document),
    }
    const audits = auditsOf(request, context, { edits: [edit], pool })
    if (audits.length > 0) await context.store.commit(audits)
    logChange(request, context, { key })
  }
}

/** @throws RecordInvalid */
function toUpload({ certificate, key, pkcs12, passphrase }: Static<typeof BODY>): CertificateUpload {
  if (pkcs12 !== undefined) {
    const other = certificate !== undefined ? '/certificate' : key !== undefined ? '/key' : undefined
    if (other !== undefined) throw new RecordInvalid(other, 'It has no place beside "pkcs12".')
    return { pkcs12, ...(passphrase !== undefined && { passphrase }) }
  }
  if (passphrase !== undefined) throw new RecordInvalid('/passphrase', 'It is for "pkcs12" alone.')
  if (certificate === undefined)
    throw new RecordInvalid('/certificate', 'There must be "certificate" and "key", or "pkcs12".')
  if (key === undefined) throw new RecordInvalid('/key', 'It must be the private key of "certificate".')
  return { certificate, key }
}

async function inPlace<Result>(
  { caller }: FastifyRequest,
  places: Places,
  work: () => Promise<Result>,
): Promise<Result> {
  const leave = places.enter(caller)
  try {
    return await work()
  } finally {
    leave()
  }
}

function textOf(maxLength: number, what: string) {
  return Type.String({ maxLength, description: `${what}, of at most ${maxLength} characters` })
}
