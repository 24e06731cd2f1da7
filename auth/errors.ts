/** What authentication refuses, and what the reader does next; why in detail is for the log alone. */

import { type Fault, LandfallError } from '../lib/errors.ts'

export const FAULTS = {
  auth_required: {
    status: 401,
    source: 'client',
    retryable: false,
    title: 'This address is private',
    next: 'Log in at /.landfall/login with a browser, or send a token as "X-Landfall-Authorization: Bearer …".',
  },
  auth_invalid: {
    status: 401,
    source: 'client',
    retryable: false,
    title: 'The credential does not count here',
    next: 'Get a new token for this host name, or log in again at /.landfall/login.',
  },
  auth_forbidden: {
    status: 403,
    source: 'client',
    retryable: false,
    title: 'You may not come in here',
    next: 'Ask the owner for access: landfall grant add <vm> <you>.',
  },
  auth_limited: {
    status: 403,
    source: 'client',
    retryable: false,
    title: 'The token is not for this method, path or port',
    next: 'Get a token that covers the request, with landfall vm-token make.',
  },
  auth_role: {
    status: 403,
    source: 'client',
    retryable: false,
    title: 'A tunnel needs the role root',
    next: 'Ask the owner for it: landfall grant add <vm> <you> --role root.',
  },
  auth_origin: {
    status: 403,
    source: 'client',
    retryable: false,
    title: 'Another site sent this request',
    next: 'Send it from a page of this host itself, or with a token instead of the cookie.',
  },
  auth_ambiguous: {
    status: 400,
    source: 'client',
    retryable: false,
    title: 'The request brings more than one credential',
    next: 'Send one X-Landfall-Authorization, Authorization or DPoP field each, or none.',
  },
  auth_busy: {
    status: 429,
    source: 'client',
    retryable: true,
    title: 'Too many credentials that do not count',
    next: 'Wait a few seconds before you send another one.',
  },
  auth_stale: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'This edge cannot tell whether you may come in',
    next: 'Try again in a moment; the edge has lost touch with the table of who may what.',
  },
} as const satisfies Record<string, Fault>

export type FaultCode = keyof typeof FAULTS

/** `reason` tells the log, and nobody else, what exactly was wrong: a word or two in lower case with dashes. */
export class AuthError extends LandfallError {
  declare readonly code: FaultCode
  readonly reason: string

  constructor(code: FaultCode, reason: string, options: { readonly cause?: unknown } = {}) {
    super(code, FAULTS[code], { ...options, context: { reason } })
    this.reason = reason
  }
}
