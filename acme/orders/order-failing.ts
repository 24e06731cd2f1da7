/** What becomes of an order that could not go on: another CA is asked at once, or the name waits. */

import { toMoment } from '../../lib/moment.ts'
import type { OrderFailure, OrderRow } from '../rows.ts'
import type { FullSettings } from './order-settings.ts'
import { toFreshRow } from './order-step.ts'
import type { Trouble } from './order-trouble.ts'

/** To either side of each wait, so that what failed together is not tried together. */
const JITTER = 0.2
/** An order that could not go on so often is given up for a new one. */
const MAX_FAILURES_OF_ONE_ORDER = 2
/** What the record of an order allows. */
const WORD = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/
/** None of the name's: it waits until they are over, and not longer each time. */
const PASSING_CODES: readonly Trouble['code'][] = [
  'ca_limited',
  'certificate_budget',
  'certificate_dns_update',
  'certificate_unconfirmed',
]

export interface Failing {
  readonly trouble: Trouble
  /** Of the CA that was asked; undefined when none may be asked now, which is no failure more. */
  readonly directory: string | undefined
  readonly hasNext: (row: OrderRow) => boolean
}

/** The row after a failure: `wanted` for the next CA, or `failed` until its pause is over. */
export function toRowAfterFailure(
  row: OrderRow,
  { trouble, directory, hasNext }: Failing,
  settings: FullSettings,
): OrderRow {
  const isAsked = directory !== undefined
  const lastError = (isAsked ? undefined : row.lastError) ?? toFailure(row, trouble, settings.now())
  const other = isAsked ? toRowForNext(row, directory) : undefined
  if (trouble.isOfCa && other !== undefined && hasNext(other)) return { ...other, lastError }
  const isPassing = PASSING_CODES.includes(trouble.code)
  const failures = row.failures + (isAsked && !isPassing ? 1 : 0)
  const nextTryAt = toMoment(toNextTryMs(isPassing ? 1 : failures, trouble, settings))
  const { triedCas: _tried, ...fresh } = toFreshRow(row)
  const isKept = trouble.keepsOrder && (isPassing || failures <= MAX_FAILURES_OF_ONE_ORDER)
  return { ...fresh, ...(isKept && keptOf(row)), state: 'failed', failures, lastError, nextTryAt }
}

function toRowForNext(row: OrderRow, failed: string): OrderRow {
  return { ...toFreshRow(row), triedCas: [...new Set([...(row.triedCas ?? []), failed])] }
}

/** A failed row whose pause is over; an order that the CA still has is carried on. */
export function toResumedRow(row: OrderRow): OrderRow {
  const { nextTryAt: _due, authorizations: _old, ...rest } = row
  return { ...rest, state: row.url === undefined ? 'wanted' : 'ordered' }
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
  { backOffMs, now, random }: FullSettings,
): number {
  const toStep = (count: number): number => backOffMs[Math.min(count, backOffMs.length) - 1] ?? 0
  // The cause is unknown, or passes: a day would be a punishment of the name.
  const waitMs = code === 'certificate_failed' ? Math.min(toStep(failures), toStep(2)) : toStep(failures)
  const ownMs = now() + Math.round(waitMs * (1 + (2 * random() - 1) * JITTER))
  if (retryAtMs === undefined) return ownMs
  // One that a budget has again is for one of all the names that wait for it.
  const spreadMs = toStep(code === 'certificate_budget' ? 2 : 1)
  return Math.max(ownMs, Math.round(retryAtMs + random() * spreadMs))
}
