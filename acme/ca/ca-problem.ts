/** What goes wrong with a certificate authority, with its own words kept (RFC 8555 section 6.7). */

import { DAY_MS } from '../../lib/durations.ts'
import type { LandfallErrorOptions } from '../../lib/errors.ts'
import { isObject } from '../../lib/json-object.ts'
import { MAX_DETAIL_CHARACTERS } from '../details.ts'
import { AcmeError, type AcmeErrorCode } from '../errors.ts'
import type { Problem } from './ca.ts'

const URN = 'urn:ietf:params:acme:error:'
const MAX_TYPE = 100
const MAX_SUBPROBLEMS = 20

/** RFC 8555 section 6.7, draft-aaron-acme-profiles and RFC 9773 section 7.4; what is not here is `ca_refused`. */
const CODES: Readonly<Record<string, AcmeErrorCode>> = {
  unreachable: 'ca_unreachable',
  timeout: 'ca_unreachable',
  aborted: 'ca_unreachable',
  badNonce: 'ca_unreachable',
  serverInternal: 'ca_unreachable',
  nonsense: 'ca_nonsense',
  rateLimited: 'ca_limited',
  accountDoesNotExist: 'ca_account',
  badPublicKey: 'ca_account',
  badSignatureAlgorithm: 'ca_account',
  externalAccountRequired: 'ca_account',
  invalidContact: 'ca_account',
  unsupportedContact: 'ca_account',
  userActionRequired: 'ca_account',
  caa: 'certificate_caa',
  connection: 'ca_unauthorized',
  dns: 'ca_unauthorized',
  incorrectResponse: 'ca_unauthorized',
  tls: 'ca_unauthorized',
  unauthorized: 'ca_unauthorized',
}

export interface CaProblemOptions extends Pick<LandfallErrorOptions, 'cause' | 'context'> {
  /** Instead of what follows from the problem's type. */
  readonly code?: AcmeErrorCode
}

/** A failure that the authority told, or that telling it anything had. */
export class CaProblem extends AcmeError {
  readonly problem: Problem

  constructor(problem: Problem, { code, ...options }: CaProblemOptions = {}) {
    super(code ?? toCode(problem), { ...options, ...(problem.detail !== '' && { detail: problem.detail }) })
    this.problem = problem
  }

  /** Whether the same request may well succeed a moment later; who names a moment is not asked before it. */
  get isTransient(): boolean {
    return this.code !== 'ca_limited' && (this.code === 'ca_unreachable' || this.problem.status >= 500)
  }

  /** Whether the authority has not, or has not any more, what it was asked for. */
  get isMissing(): boolean {
    return this.problem.status === 404 || this.problem.status === 410
  }

  static nonsense(detail: string, options: CaProblemOptions = {}): CaProblem {
    return new CaProblem({ type: 'nonsense', status: 0, detail, subproblems: [] }, options)
  }

  /** Terms that were not agreed to, or an account that the operator has to bind. */
  static account(detail: string): CaProblem {
    const problem = { type: 'userActionRequired', status: 0, detail, subproblems: [] }
    return new CaProblem(problem, { code: 'ca_account' })
  }

  /** No answer: nobody there (`unreachable`), not in time (`timeout`), or nobody waits for it any more (`aborted`). */
  static silence(type: 'unreachable' | 'timeout' | 'aborted', detail: string, cause: unknown): CaProblem {
    return new CaProblem({ type, status: 0, detail, subproblems: [] }, { cause })
  }
}

/** An answer as it came. */
export interface CaAnswer {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly body: unknown
}

/** The problem that an answer with an error's status is, whether it has a problem document or not. */
export function toProblem({ status, retryAfter, body }: CaAnswer, nowMs: number): Problem {
  const retryAfterMs = parseRetryAfter(retryAfter, nowMs)
  const later = retryAfterMs === undefined ? {} : { retryAfterMs }
  const told = findProblem(body)
  // Whatever stands before the authority's own program answers without a problem document.
  if (told === undefined) return { ...guess(status), ...later }
  return { ...told, status, ...later }
}

/** What the body is as a problem document; undefined when it is none. Its status is the document's own, or 0. */
export function findProblem(body: unknown): Problem | undefined {
  if (!isObject(body) || typeof body.type !== 'string') return undefined
  const listed = Array.isArray(body.subproblems) ? body.subproblems.slice(0, MAX_SUBPROBLEMS) : []
  return {
    type: toType(body.type),
    status: typeof body.status === 'number' && Number.isInteger(body.status) ? body.status : 0,
    detail: toText(body.detail),
    subproblems: listed.filter(isObject).map((item) => ({
      type: toType(item.type),
      detail: toText(item.detail),
      ...(isObject(item.identifier) && { identifier: toText(item.identifier.value) }),
    })),
  }
}

/** Seconds or an HTTP date (RFC 9110 section 10.2.3), from now, at most a day; undefined when it is neither. */
export function parseRetryAfter(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - nowMs
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), DAY_MS)
}

/** The code of a problem, whoever told it: the answer to a request, a challenge or an order that ended. */
export function toCode({ type, status, retryAfterMs }: Problem): AcmeErrorCode {
  // Let's Encrypt sheds load with 503 and Retry-After; without one it is a fault of the authority.
  if (status === 429 || (status === 503 && retryAfterMs !== undefined)) return 'ca_limited'
  const known = Object.hasOwn(CODES, type) ? CODES[type] : undefined
  return known ?? (status >= 500 ? 'ca_unreachable' : 'ca_refused')
}

function guess(status: number): Problem {
  const detail = `The certificate authority answered ${status} and no problem document`
  const type = status === 429 ? 'rateLimited' : status >= 500 ? 'unreachable' : 'nonsense'
  return { type, status, detail, subproblems: [] }
}

function toType(value: unknown): string {
  return typeof value === 'string' ? toPlain(value.replace(URN, '')).slice(0, MAX_TYPE) : ''
}

function toText(value: unknown): string {
  return typeof value === 'string'
    ? toPlain(value.slice(0, 2 * MAX_DETAIL_CHARACTERS)).slice(0, MAX_DETAIL_CHARACTERS)
    : ''
}

/** In one line and without control characters or marks that turn text round: it is shown in terminals and pages. */
function toPlain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').trim()
}
