/** What a step of an order is given, what it hands back, and what all steps do with a row. */

import type { Ca } from '../ca/ca.ts'
import { hostOf } from '../ca/ca-url.ts'
import type {
  CertificateRow,
  ChallengeRow,
  ChallengeType,
  OrderRow,
  RenewalRow,
  RowAuthorization,
} from '../rows.ts'
import type { FullOrdersSettings, OrdersDeps } from './order-settings.ts'
import { OrderTrouble } from './order-trouble.ts'

export type StepResult =
  | NextResult
  | { readonly kind: 'issued'; readonly certificate: CertificateRow; readonly renewal: RenewalRow }
  /** Nobody needs it any more. */
  | { readonly kind: 'dropped'; readonly why: string }

export interface NextResult {
  readonly kind: 'next'
  readonly row: OrderRow
  /** To the challenges that the row speaks of, saved together with it. */
  readonly answers?: readonly ChallengeRow[]
}

/** One small function per state: it does what the state asks for, and the caller saves the row it hands back. */
export type Step = (row: OrderRow, run: StepRun) => Promise<StepResult>

export interface StepRun {
  readonly deps: OrdersDeps
  readonly settings: FullOrdersSettings
  /** The row's, or the one to ask next. */
  readonly ca: Ca
  /** Aborted when the hold is lost or this edge shuts down. */
  readonly signal: AbortSignal
  /** What one carrier remembers between steps; another one finds it out anew. */
  readonly memory: RunMemory
}

export interface RunMemory {
  /** By which types every name can be proven, the best first. */
  types?: readonly ChallengeType[]
  isReplacesRefused?: boolean
  isRestarted?: boolean
  /** How often the answers had to be published once more. */
  republished?: number
  /** What a DNS server was given by this carrier, and still has, by full name. */
  added: { readonly name: string; readonly value: string }[]
}

export function next(row: OrderRow): NextResult {
  return { kind: 'next', row }
}

/** The demand alone, without what was said to a CA. */
export function toFreshRow(row: OrderRow): OrderRow {
  const { name, keyType, names, createdAt, cause, failures, of, paidCas, triedCas, lastError } = row
  return {
    state: 'wanted',
    ...{ name, keyType, names, createdAt, cause, failures },
    ...(of !== undefined && { of }),
    ...(paidCas !== undefined && { paidCas }),
    ...(triedCas !== undefined && { triedCas }),
    ...(lastError !== undefined && { lastError }),
  }
}

/**
 * For an order that the CA has not any more (RFC 8555 section 7.1.6: expired, or never heard of). It is no
 * failure, but it happens once in a run only. @throws OrderTrouble
 */
export function restart(row: OrderRow, { memory, ca }: StepRun): StepResult {
  if (memory.isRestarted === true) {
    const detail = `The authority ${hostOf(ca.directory)} forgets orders`
    throw new OrderTrouble({ code: 'ca_nonsense', detail, isOfCa: true })
  }
  memory.isRestarted = true
  return next(toFreshRow(row))
}

/** RFC 8555 section 7.1.6: an authorization with a challenge is still to be proven. */
export function hasChallenge(
  authorization: RowAuthorization,
): authorization is RowAuthorization & { readonly challenge: object } {
  return authorization.challenge !== undefined
}
