/** What the login pages refuse, and what the reader does next. */

import { type Fault, LandfallError, type LandfallErrorOptions } from '../../lib/errors.ts'

export const FAULTS = {
  login_not_found: {
    status: 404,
    source: 'client',
    retryable: false,
    title: 'There is no such page',
    next: 'The pages of a VM host are /.landfall/login, /.landfall/whoami and /.landfall/logout; see docs/auth.md.',
  },
  login_method_not_allowed: {
    status: 405,
    source: 'client',
    retryable: false,
    title: 'The page does not take this method',
    next: 'Send the request with a method that the Allow field names.',
  },
  login_request_malformed: {
    status: 400,
    source: 'client',
    retryable: false,
    title: 'The request is not one that our pages make',
    next: 'Start again at the address that you wanted to open.',
  },
  login_host_unknown: {
    status: 404,
    source: 'client',
    retryable: false,
    title: 'No VM has this address',
    next: 'Check the spelling of the host name; if the VM is new, try again in a few seconds.',
  },
  login_cookies_missing: {
    status: 400,
    source: 'client',
    retryable: false,
    title: 'This browser did not begin the login',
    next: 'Start again in one browser, and allow cookies for this host: the login keeps one while it is under way.',
  },
  login_expired: {
    status: 410,
    source: 'client',
    retryable: false,
    title: 'This step of the login is over',
    next: 'Start again: each step works once, and for a few minutes.',
  },
  login_interrupted: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'The login could not be finished',
    next: 'Start again in a moment; the edge could not look up the last step.',
  },
  login_too_often: {
    status: 429,
    source: 'client',
    retryable: true,
    title: 'Too many logins in a short time',
    next: 'Wait a minute, and open the address again.',
  },
  login_origin: {
    status: 403,
    source: 'client',
    retryable: false,
    title: 'Another site sent this form',
    next: 'Open the page at its own address and send the form from there.',
  },
  login_link_gone: {
    status: 410,
    source: 'client',
    retryable: false,
    title: 'This link does not work any more',
    next: 'It has run out, or was taken back. Ask whoever sent it for a new one.',
  },
  login_link_used: {
    status: 410,
    source: 'client',
    retryable: false,
    title: 'This link was for one use, and was used',
    next: 'Ask whoever sent it for a new one.',
  },
  login_link_full: {
    status: 403,
    source: 'client',
    retryable: false,
    title: 'The VM is shared with as many as it can be',
    next: 'Ask its owner to take back a grant that nobody needs, and open the link again.',
  },
  login_provider_down: {
    status: 502,
    source: 'upstream',
    retryable: true,
    title: 'The login provider does not answer',
    next: 'Try again in a moment; nobody can log in anew until the provider is back, and those who are in stay in.',
    proxyStatus: 'destination_unavailable',
  },
  login_provider_failed: {
    status: 502,
    source: 'upstream',
    retryable: true,
    title: 'The login provider gave an answer that does not count',
    next: "Start again; if it stays, the operator finds the reason in the edge's log.",
    proxyStatus: 'http_protocol_error',
  },
  login_provider_refused: {
    status: 403,
    source: 'client',
    retryable: false,
    title: 'The login provider did not let you in',
    next: 'Start again, and agree to the login at the provider or choose another account there.',
  },
  login_person_unfit: {
    status: 403,
    source: 'client',
    retryable: false,
    title: 'The login provider says too little about you',
    next: 'Ask the operator: the claim that LANDFALL_OIDC_USER_CLAIM names is not in what the provider says, or cannot be an id.',
  },
  login_mail_unsent: {
    status: 502,
    source: 'upstream',
    retryable: true,
    title: 'The mail could not be sent',
    next: "Go back and try again in a minute; if it stays, the operator finds the reason in the edge's log.",
    proxyStatus: 'destination_unavailable',
  },
  login_busy: {
    status: 429,
    source: 'client',
    retryable: true,
    title: 'Too many mails were asked for from your network',
    next: 'Use the mail that came last, or try again in an hour.',
  },
  login_unconfigured: {
    status: 503,
    source: 'internal',
    retryable: false,
    title: 'Nobody can log in here yet',
    next: 'The operator sets LANDFALL_OIDC_ISSUER or LANDFALL_SMTP_URL; programs can use tokens meanwhile.',
  },
  login_body_too_large: {
    status: 413,
    source: 'client',
    retryable: false,
    title: 'The form is too large',
    next: 'Send what the page asks for and nothing else.',
  },
  login_internal: {
    status: 500,
    source: 'internal',
    retryable: true,
    title: 'The login failed inside the edge',
    next: "Try again; if it stays, look for the request's id in the edge's log.",
  },
} as const satisfies Record<string, Fault>

export type LoginFaultCode = keyof typeof FAULTS

export class LoginError extends LandfallError {
  declare readonly code: LoginFaultCode

  constructor(code: LoginFaultCode, options: LandfallErrorOptions = {}) {
    super(code, FAULTS[code], options)
  }
}
