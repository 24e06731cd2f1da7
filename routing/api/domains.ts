/** `/v1/domains`: host names outside of the platform's domain, which lead to a VM once they are proven. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { RecordInvalid } from '../errors.ts'
import { DOMAINS, type Stored, toStored } from '../records/record-kinds.ts'
import { DOMAIN, type DomainRecord } from '../records/records.ts'
import { choiceOf, LABEL, PORT } from '../records/schema.ts'
import { CLAIM_PREFIX } from '../vms/vm-plans.ts'
import { may } from './caller.ts'
import { answerChanged, type Changed, sendChanged } from './changes.ts'
import type { ApiContext } from './context.ts'
import { findPoolOf, proofOf } from './domain-plans.ts'
import { proofRecords } from './domain-proof.ts'
import { askForDomain, checkDomain, deleteDomain } from './domain-writes.ts'
import { type ByHostname, getHostname, HOSTNAME_PARAMS } from './hostnames.ts'
import { answerOnce } from './idempotency.ts'
import { refuseOtherMethods } from './problems.ts'
import { getStored, notFound, sendStored } from './reads.ts'
import { listingOf, NOTHING, pageQuery, strict, viewOf, withProblems } from './schemas.ts'

const COLLECTION = '/v1/domains'
const ITEM = '/v1/domains/:hostname'
const CHECK = '/v1/domains/:hostname/check'
const DEFAULT_LIMIT = 100

const BODY = strict(
  { vm: LABEL, port: Type.Optional(PORT), proof: Type.Optional(choiceOf(['operator'])) },
  { examples: [{ vm: 'web' }] },
)
const LIST_QUERY = pageQuery({ vm: Type.Optional(LABEL) })
const CHECK_QUERY = strict({ again: Type.Optional(choiceOf(['true', 'false'])) })
const VIEW = viewOf(DOMAIN, {
  url: Type.String(),
  records: Type.Array(
    Type.Object({ type: choiceOf(['TXT', 'CNAME']), name: Type.String(), value: Type.String() }),
    { description: 'either of these in DNS proves the domain; what proves nothing for now is left out' },
  ),
})

type ListDomains = { Querystring: Static<typeof LIST_QUERY> }
type PutDomain = ByHostname & { Body: Static<typeof BODY> }
type PostCheck = ByHostname & { Querystring: Static<typeof CHECK_QUERY> }

export function addDomains(app: FastifyInstance, context: ApiContext): void {
  addReads(app, context)
  app.put<PutDomain>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Asks for a domain',
        description:
          'The answer has the DNS records that prove it. Operators may say "proof": "operator" instead.',
        params: HOSTNAME_PARAMS,
        body: BODY,
        response: { 200: VIEW, 201: VIEW },
      }),
    },
    (request, reply) => putDomain(request, reply, context),
  )
  app.post<PostCheck>(
    CHECK,
    {
      schema: withProblems({
        summary: 'Asks DNS for the proof, now',
        description:
          'The answer has "state": proven, or pending and "lastError". What is proven is asked for only ?again=true.',
        params: HOSTNAME_PARAMS,
        querystring: CHECK_QUERY,
        response: { 200: VIEW },
      }),
    },
    (request, reply) => postCheck(request, reply, context),
  )
  app.delete<ByHostname>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Gives a domain back; it leads nowhere then',
        params: HOSTNAME_PARAMS,
        response: { 204: NOTHING },
      }),
    },
    async (request, reply) => {
      await deleteDomain(request, context, getHostname(request, DOMAINS))
      return reply.code(204).send()
    },
  )
  refuseOtherMethods(app, COLLECTION, ['GET', 'HEAD'])
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD', 'PUT', 'DELETE'])
  refuseOtherMethods(app, CHECK, ['POST'])
}

function addReads(app: FastifyInstance, context: ApiContext): void {
  app.get<ListDomains>(
    COLLECTION,
    {
      schema: withProblems({
        summary: 'All domains, or those of a VM',
        querystring: LIST_QUERY,
        response: { 200: listingOf('domains', VIEW) },
      }),
    },
    (request) => listDomains(request, context),
  )
  app.get<ByHostname>(
    ITEM,
    { schema: withProblems({ summary: 'One domain', params: HOSTNAME_PARAMS, response: { 200: VIEW } }) },
    (request, reply) => getDomain(request, reply, context),
  )
}

/** Those of a VM are found by their claims: all domains may be many. */
async function listDomains({ caller, query }: FastifyRequest<ListDomains>, context: ApiContext) {
  const { vm, limit = DEFAULT_LIMIT, after = '' } = query
  const prefix = vm === undefined ? DOMAINS.prefix : `${CLAIM_PREFIX}${vm}/`
  const page = await context.store.list(prefix, { limit, after: prefix + after })
  const hostnames = page.documents.map(({ key }) => key.slice(prefix.length))
  const views = await Promise.all(
    hostnames.map(async (hostname) => {
      const stored = await findReadable(context, caller, hostname)
      return stored && stored.record.vm === (vm ?? stored.record.vm) ? viewDomain(context, stored) : undefined
    }),
  )
  const next = page.next?.slice(prefix.length)
  return { domains: views.filter((view) => view !== undefined), ...(next !== undefined && { next }) }
}

/** A record that breaks a rule must not hide the others of its page. */
async function findReadable(
  context: ApiContext,
  caller: FastifyRequest['caller'],
  hostname: string,
): Promise<Stored<DomainRecord> | undefined> {
  const document = await context.store.get(DOMAINS.prefix + hostname)
  try {
    const stored = document && toStored(DOMAINS, document)
    return stored && may(caller, 'read', await findPoolOf(context, stored.record)) ? stored : undefined
  } catch (error) {
    context.log.error({ err: error, key: document?.key }, 'a record is left out of a listing')
    return undefined
  }
}

async function getDomain(request: FastifyRequest<ByHostname>, reply: FastifyReply, context: ApiContext) {
  const hostname = getHostname(request, DOMAINS)
  const stored = await getStored(context, DOMAINS, hostname)
  const pool = await findPoolOf(context, stored.record)
  if (!may(request.caller, 'read', pool)) throw notFound(DOMAINS, hostname)
  return sendStored(reply, stored, (shown) => viewDomain(context, shown))
}

async function putDomain(request: FastifyRequest<PutDomain>, reply: FastifyReply, context: ApiContext) {
  checkNoWildcard(request.params.hostname)
  const hostname = getHostname(request, DOMAINS)
  const changed = await askForDomain(request, context, { hostname, ...request.body })
  const view = await viewChanged(context, changed)
  return sendChanged(reply, changed, { location: `${COLLECTION}/${hostname}`, view: () => view })
}

function postCheck(request: FastifyRequest<PostCheck>, reply: FastifyReply, context: ApiContext) {
  const hostname = getHostname(request, DOMAINS)
  const isAgain = request.query.again === 'true'
  const make = async () => {
    const changed = await checkDomain(request, context, { hostname, isAgain })
    const view = await viewChanged(context, changed)
    return answerChanged(changed, { location: `${COLLECTION}/${hostname}`, view: () => view })
  }
  return answerOnce(request, reply, context, { verb: 'write', make })
}

function checkNoWildcard(text: string): void {
  if (!text.includes('*')) return
  throw new RecordInvalid(
    '/hostname',
    'It must be one host name: wildcard host names are not routed. Ask for each name by itself.',
  )
}

async function viewChanged(context: ApiContext, { after }: Changed<DomainRecord>): Promise<object> {
  return after === undefined ? {} : viewDomain(context, after)
}

async function viewDomain(context: ApiContext, { record, revision }: Stored<DomainRecord>) {
  const { hostname } = record
  const records = proofRecords(await proofOf(context, record))
  return { ...record, url: context.urlOf(hostname), records, revision }
}
