/** Errors as `application/problem+json` bodies (RFC 9457) that say what to do next. */

import type { Fault, LandfallError } from './errors.ts'

/** RFC 9457 section 3 members, with our extensions `code`, `next`, `retryable` and `requestId`. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail?: string
  readonly code: string
  readonly next: string
  readonly retryable: boolean
  readonly requestId?: string
  /** The request's field that is at fault, as a JSON pointer. */
  readonly field?: string
}

/** Where `type` leads: a page that every edge serves on every host. */
export const ERRORS_PATH = '/.landfall/errors'

export function toProblem(
  code: string,
  fault: Fault,
  more: { detail?: string; requestId?: string; field?: string },
): Problem {
  return {
    type: `${ERRORS_PATH}#${code}`,
    title: fault.title,
    status: fault.status,
    ...(more.detail !== undefined && { detail: more.detail }),
    code,
    next: fault.next,
    retryable: fault.retryable,
    ...(more.field !== undefined && { field: more.field }),
    ...(more.requestId !== undefined && { requestId: more.requestId }),
  }
}

export function problemOf(error: LandfallError, requestId?: string): Problem {
  return toProblem(error.code, error.fault, {
    ...(error.detail !== undefined && { detail: error.detail }),
    ...(requestId !== undefined && { requestId }),
    ...(typeof error.context.field === 'string' && { field: error.context.field }),
  })
}
