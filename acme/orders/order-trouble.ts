/** Why an order could not go on: whose trouble it is decides who is asked next, and when. */

import type { Problem } from '../ca/ca.ts'
import { CaProblem, toCode } from '../ca/ca-problem.ts'
import { MAX_DETAIL_CHARACTERS } from '../details.ts'
import { AcmeError, type AcmeErrorCode, FAULTS } from '../errors.ts'

export interface Trouble {
  readonly code: AcmeErrorCode
  /** Safe to show to the name's owner. */
  readonly detail: string
  /** The next CA is asked at once; otherwise it is the name's own, and waits. */
  readonly isOfCa: boolean
  /** The CA still has the order, which may be carried on later. */
  readonly keepsOrder: boolean
  /** Nobody has said no: answers are lacking. */
  readonly isUnknown?: boolean
  readonly problemType?: string
  /** Unix milliseconds: not before. */
  readonly retryAtMs?: number
}

export class OrderTrouble extends Error {
  readonly trouble: Trouble

  constructor(
    trouble: Pick<Trouble, 'code' | 'detail'> & Partial<Trouble>,
    options?: { readonly cause?: unknown },
  ) {
    super(trouble.detail, options)
    this.name = 'OrderTrouble'
    this.trouble = {
      isOfCa: false,
      keepsOrder: false,
      ...trouble,
      detail: trouble.detail.slice(0, MAX_DETAIL_CHARACTERS),
    }
  }
}

/** Another CA may have other rules. */
const POLICY_TYPES = ['rejectedIdentifier', 'unsupportedIdentifier', 'invalidProfile']
/** What is the CA's own trouble, or its trouble with us; an account's key that cannot be opened is a setting. */
const CODES_OF_CA: readonly AcmeErrorCode[] = [
  'ca_account',
  'ca_limited',
  'ca_nonsense',
  'ca_unreachable',
  'certificate_setting',
]
/** What passes without anything having been said of the order. */
const CODES_THAT_KEEP: readonly AcmeErrorCode[] = ['ca_limited', 'ca_unreachable', 'certificate_dns_update']

/** The trouble that an error of a step stands for. */
export function toTrouble(error: unknown, nowMs: number): Trouble {
  if (error instanceof OrderTrouble) return error.trouble
  if (error instanceof CaProblem) return toRequestTrouble(error, nowMs)
  if (error instanceof AcmeError) return toOwnTrouble(error)
  // What is unexpected is the log's; it may tell of things that are none of the name's owner's.
  return new OrderTrouble({ code: 'certificate_failed', detail: 'Something failed here', keepsOrder: true })
    .trouble
}

/** What the CA said of a challenge, an authorization, or an order that it ended. */
export function toEndedTrouble(problem: Problem | undefined, name: string): OrderTrouble {
  const code = problem === undefined ? 'ca_unauthorized' : toCode(problem)
  const words = problem === undefined ? 'the authority gave no reason' : toWords(problem)
  return new OrderTrouble({
    code,
    isOfCa: CODES_OF_CA.includes(code),
    detail: `${name}: ${words}`,
    problemType: problem?.type ?? 'unauthorized',
  })
}

/**
 * How long to leave the CA alone before the same request may succeed; undefined where time alone does not help. A CA that
 * sheds load by 503 with Retry-After goes on with what it has begun, so an order is not thrown away for that.
 */
export function findRestMs(error: unknown): number | undefined {
  if (!(error instanceof CaProblem)) return undefined
  const { status, retryAfterMs } = error.problem
  if (status >= 500 && retryAfterMs !== undefined) return retryAfterMs
  return error.isTransient ? 0 : undefined
}

export function isMissing(error: unknown): boolean {
  return error instanceof CaProblem && error.isMissing
}

function toRequestTrouble({ code, problem }: CaProblem, nowMs: number): Trouble {
  const { type, retryAfterMs } = problem
  return new OrderTrouble({
    code,
    isOfCa: CODES_OF_CA.includes(code) || POLICY_TYPES.includes(type),
    detail: toWords(problem),
    problemType: type,
    keepsOrder: CODES_THAT_KEEP.includes(code),
    ...(retryAfterMs !== undefined && { retryAtMs: nowMs + retryAfterMs }),
  }).trouble
}

function toOwnTrouble({ code, detail = FAULTS[code].title }: AcmeError): Trouble {
  return new OrderTrouble({
    code,
    detail,
    isOfCa: CODES_OF_CA.includes(code),
    keepsOrder: CODES_THAT_KEEP.includes(code),
  }).trouble
}

function toWords({ type, detail, subproblems }: Problem): string {
  const parts = subproblems.map((one) => `${one.identifier ?? ''} ${one.type}: ${one.detail}`.trim())
  return [`${type}: ${detail}`, ...parts].join('; ')
}
