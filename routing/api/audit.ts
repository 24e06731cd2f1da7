/** `/v1/audit`: who changed what, oldest first. */

import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { toAuditPrefix } from '../records/audit-id.ts'
import { AUDITS, findRecord, POOLS } from '../records/record-kinds.ts'
import { AUDIT, type AuditRecord } from '../records/records.ts'
import { INSTANT, LABEL } from '../records/schema.ts'
import { type Caller, may } from './caller.ts'
import type { ApiContext } from './context.ts'
import { refuseOtherMethods } from './problems.ts'
import { listPage } from './reads.ts'
import { listingOf, type PageQuery, pageQuery, viewOf, withProblems } from './schemas.ts'

const COLLECTION = '/v1/audit'
/** Documents of any kind: what a record looked like. */
const SNAPSHOT = Type.Optional(Type.Object({}, { additionalProperties: true }))
const VIEW = viewOf(AUDIT, { before: SNAPSHOT, after: SNAPSHOT })

type ListAudit = {
  Querystring: PageQuery & { readonly pool?: string; readonly since?: string }
}

export function addAudit(app: FastifyInstance, context: ApiContext): void {
  app.get<ListAudit>(
    COLLECTION,
    {
      schema: withProblems({
        summary: 'Who changed what, oldest first',
        description:
          'Kept for 90 days (LANDFALL_AUDIT_DAYS). A page without records may still have a "next" to read on with.',
        querystring: pageQuery({ pool: Type.Optional(LABEL), since: Type.Optional(INSTANT) }),
        response: { 200: listingOf('audit', VIEW) },
      }),
    },
    (request) => listAudit(request, context),
  )
  refuseOtherMethods(app, COLLECTION, ['GET', 'HEAD'])
}

/** What belongs to no pool is for those who may read all of them. */
async function listAudit(request: FastifyRequest<ListAudit>, context: ApiContext) {
  const { caller, query } = request
  const since = query.since === undefined ? undefined : new Date(query.since)
  const isAsked = (pool: string | undefined) => query.pool === undefined || pool === query.pool
  const isTold = await createAuditFilter(context, caller)
  const isShown = (record: AuditRecord) =>
    isTold(record) &&
    isAsked(record.pool) &&
    (since === undefined || Date.parse(record.at) >= since.getTime())
  const view = ({ record, revision }: { record: AuditRecord; revision: number }) => ({ ...record, revision })
  const after = query.after ?? (since && toAuditPrefix(since).slice(AUDITS.prefix.length))
  request.query = { ...query, ...(after !== undefined && { after }) }
  return listPage(request, context, { kind: AUDITS, plural: 'audit', view, isShown })
}

/** What came before a pool was bought belonged to another owner of the same name. */
async function createAuditFilter(
  { store }: ApiContext,
  caller: Caller,
): Promise<(record: AuditRecord) => boolean> {
  if (may(caller, 'read', undefined)) return () => true
  const names = new Set(caller.scopes.map(({ pool }) => pool).filter((pool) => may(caller, 'read', pool)))
  const bought = new Map<string | undefined, number>()
  for (const name of names) {
    const pool = await findRecord(store, POOLS, name)
    if (pool) bought.set(name, Date.parse(pool.record.createdAt))
  }
  return ({ pool, at }) => Date.parse(at) >= (bought.get(pool) ?? Number.POSITIVE_INFINITY)
}
