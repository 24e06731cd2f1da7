/** What becomes of an order that could not go on: another CA is asked at once, or the name waits. */

import { toMoment } from '../../lib/moment.ts'
import type { OrderFailure, OrderRow } from '../rows.ts'
import { ACCOUNT_WINDOW_MS } from './order-budgets.ts'
import type { FullOrdersSettings } from './order-settings.ts'
import { toFreshRow } from './order-step.ts'
import type { Trouble } from './order-trouble.ts'

/** To either side of each wait, so that what failed together is not tried together. */
const JITTER = 0.2
/** An order that could not go on so often is given up for a new one. */
const MAX_FAILURES_OF_ONE_ORDER = 2
/** What the record of an order allows. */
const WORD = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/
/** The longest step of `backOffMs` for what the name is not to be blamed for: a day would be a punishment. */
const MOST_BLAMELESS = 2
/** An outage is over after so many; a name whose own servers are silent must not be tried for ever as often. */
const BLAMELESS_TRIES = 8
/** None of the name's: it waits until they are over, and not longer each time. */
const PASSING_CODES: readonly Trouble['code'][] = [
  'ca_limited',
  'certificate_budget',
  'certificate_dns_update',
  'certificate_unconfirmed',
]

export interface FailedTry {
  readonly trouble: Trouble
  /** Of the CA that was asked; undefined when none may be asked now, which is no failure more. */
  readonly directory: string | undefined
  readonly hasNext: (row: OrderRow) => boolean
}

/** The row after a failure: `wanted` for the next CA, or `failed` until its pause is over. */
export function toRowAfterFailure(
  row: OrderRow,
  { trouble, directory, hasNext }: FailedTry,
  settings: FullOrdersSettings,
): OrderRow {
  const isAsked = directory !== undefined
  const lastError = (isAsked ? undefined : row.lastError) ?? toFailure(row, trouble, settings.now())
  const other = isAsked ? toRowForNext(row, directory) : undefined
  if (trouble.isOfCa && other !== undefined && hasNext(other)) return { ...other, lastError }
  const isPassing = PASSING_CODES.includes(trouble.code)
  const failures = row.failures + (isAsked && !isPassing ? 1 : 0)
  const step = isPassing ? 1 : toBackOffStep(row, trouble, failures)
  const nextTryAt = toMoment(toNextTryMs(step, trouble, settings))
  const { triedCas: _tried, ...fresh } = toFreshRow(row)
  const isKept = trouble.keepsOrder && (isPassing || failures <= MAX_FAILURES_OF_ONE_ORDER)
  return { ...fresh, ...(isKept && keptOf(row)), state: 'failed', failures, lastError, nextTryAt }
}

function toBackOffStep(row: OrderRow, trouble: Trouble, failures: number): number {
  const isSpared = failures <= BLAMELESS_TRIES && isBlameless(row, trouble)
  return isSpared ? Math.min(failures, MOST_BLAMELESS) : failures
}

/** Whose fault it is is unknown, or it is the CA's; there, each try that got as far as an order costs a part of the budgets. */
function isBlameless({ url }: OrderRow, { code, isUnknown = false }: Trouble): boolean {
  return isUnknown || code === 'certificate_failed' || (code === 'ca_unreachable' && url === undefined)
}

function toRowForNext(row: OrderRow, failed: string): OrderRow {
  return { ...toFreshRow(row), triedCas: [...new Set([...(row.triedCas ?? []), failed])] }
}

/**
 * A failed row whose pause is over; an order that the CA still has is carried on. What was paid is forgotten when the
 * budget has it again, so that names which paid at different times are not all free at the same one.
 */
export function toResumedRow(row: OrderRow, nowMs: number): OrderRow {
  const { nextTryAt: _due, authorizations: _old, paidCas = [], ...rest } = row
  const isPaid = paidCas.length > 0 && nowMs - Date.parse(row.lastError?.at ?? '') < ACCOUNT_WINDOW_MS
  return { ...rest, ...(isPaid && { paidCas }), state: row.url === undefined ? 'wanted' : 'ordered' }
}

/** What an order is found again by, and the key that its certificate may have been issued for already. */
function keptOf({ ca, url, sealedKey, csr, profile, replaces }: OrderRow): Partial<OrderRow> {
  if (url === undefined) return {}
  return {
    url,
    ...(ca !== undefined && { ca }),
    ...(sealedKey !== undefined && { sealedKey }),
    ...(csr !== undefined && { csr }),
    ...(profile !== undefined && { profile }),
    ...(replaces !== undefined && { replaces }),
  }
}

function toFailure({ state }: OrderRow, { code, detail, problemType }: Trouble, nowMs: number): OrderFailure {
  return {
    code,
    detail,
    ...(problemType !== undefined && WORD.test(problemType) && { problemType }),
    step: state,
    at: toMoment(nowMs),
  }
}

/** Never before the moment that a CA or a budget named, and not all together at it. */
function toNextTryMs(
  failures: number,
  { code, retryAtMs }: Trouble,
  { backOffMs, now, random }: FullOrdersSettings,
): number {
  const toStep = (count: number): number => backOffMs[Math.min(count, backOffMs.length) - 1] ?? 0
  const ownMs = now() + Math.round(toStep(failures) * (1 + (2 * random() - 1) * JITTER))
  if (retryAtMs === undefined) return ownMs
  // One that a budget has again is for one of all the names that wait for it.
  const spreadMs = toStep(code === 'certificate_budget' ? 2 : 1)
  return Math.max(ownMs, Math.round(retryAtMs + random() * spreadMs))
}
