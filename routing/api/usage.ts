/** `/v1/pools/{pool}/usage`: what a pool used in a span of time. */

import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { RoutingError } from '../errors.ts'
import { findRecord, POOLS } from '../records/record-kinds.ts'
import { USAGE_COUNTS } from '../records/records.ts'
import { INSTANT, LABEL } from '../records/schema.ts'
import { type Span, type StepLength, sumUsage, type UsageStep } from '../usage/usage-report.ts'
import { may } from './caller.ts'
import type { ApiContext } from './context.ts'
import { refuseOtherMethods } from './problems.ts'
import { notFound } from './reads.ts'
import { strict, withProblems } from './schemas.ts'

const ITEM = '/v1/pools/:pool/usage'
const DAY_MS = 86_400_000
const MAX_DAYS = 400
/** A longer span is told by days. */
const MAX_HOURLY_DAYS = 31

const DATE = Type.String({ description: 'a day in UTC, as "2026-01-31"' })
const VIEW = Type.Object({
  pool: LABEL,
  from: INSTANT,
  to: INSTANT,
  total: USAGE_COUNTS,
  hours: Type.Optional(Type.Array(Type.Object({ hour: INSTANT, ...USAGE_COUNTS.properties }))),
  days: Type.Optional(Type.Array(Type.Object({ day: DATE, ...USAGE_COUNTS.properties }))),
})

type GetUsage = {
  Params: { pool: string }
  Querystring: { readonly from?: string; readonly to?: string }
}

export function addUsage(app: FastifyInstance, context: ApiContext): void {
  app.get<GetUsage>(
    ITEM,
    {
      schema: withProblems({
        summary: 'What a pool used, by default in this month (UTC)',
        description:
          'Sums over all processes that counted; diskBytes is the most at once. An hour belongs to the span in which it ' +
          `begins. Spans of up to ${MAX_HOURLY_DAYS} days are told by hours, others, of up to ${MAX_DAYS} days, by days; ` +
          'what is not listed is 0. The last minute may still be missing.',
        params: Type.Object({ pool: LABEL }),
        querystring: strict({ from: Type.Optional(INSTANT), to: Type.Optional(INSTANT) }),
        response: { 200: VIEW },
      }),
    },
    (request) => getUsage(request, context),
  )
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD'])
}

/** The usage of a pool that was given back stays readable, for those who may read all pools. */
async function getUsage({ caller, params, query }: FastifyRequest<GetUsage>, context: ApiContext) {
  const { pool } = params
  if (!may(caller, 'read', pool)) throw notFound(POOLS, pool)
  const asked = spanOf(query, context.now())
  const span = may(caller, 'read', undefined) ? asked : await clamp(context, pool, asked)
  const days = (asked.to.getTime() - asked.from.getTime()) / DAY_MS
  const step = days > MAX_HOURLY_DAYS ? 'day' : 'hour'
  const { total, steps } = await sumUsage(context, { pool, ...span, step })
  if (steps.length === 0 && (await findRecord(context.store, POOLS, pool)) === undefined) {
    throw notFound(POOLS, pool)
  }
  const { from, to } = span
  return { pool, from: from.toISOString(), to: to.toISOString(), total, ...listOf(step, steps) }
}

/** To the time from the hour on in which the pool was bought: before, it was another owner's. */
async function clamp({ store }: ApiContext, pool: string, { from, to }: Span): Promise<Span> {
  const stored = await findRecord(store, POOLS, pool)
  if (stored === undefined) throw notFound(POOLS, pool)
  const boughtAt = new Date(stored.record.createdAt).setUTCMinutes(0, 0, 0)
  return { from: new Date(Math.min(Math.max(from.getTime(), boughtAt), to.getTime())), to }
}

function listOf(step: StepLength, steps: readonly UsageStep[]) {
  if (step === 'hour') return { hours: steps.map(({ at, counts }) => ({ hour: at, ...counts })) }
  return { days: steps.map(({ at, counts }) => ({ day: at.slice(0, 'YYYY-MM-DD'.length), ...counts })) }
}

/** @throws RoutingError `api_request_malformed` with the field at fault */
function spanOf({ from, to }: GetUsage['Querystring'], now: Date): Span {
  const month = (offset: number) => new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + offset))
  const span = {
    from: from === undefined ? month(0) : new Date(from),
    to: to === undefined ? month(1) : new Date(to),
  }
  const ms = span.to.getTime() - span.from.getTime()
  if (ms <= 0) throw malformed(from === undefined ? 'to' : 'from', `"from" must be before "to"`, span)
  if (ms > MAX_DAYS * DAY_MS) {
    throw malformed('to', `"to" must be at most ${MAX_DAYS} days after "from"`, span)
  }
  return span
}

function malformed(name: string, rule: string, { from, to }: Span): RoutingError {
  const detail = `${rule}; they are ${from.toISOString()} and ${to.toISOString()}.`
  return new RoutingError('api_request_malformed', { detail, context: { field: `/${name}` } })
}
