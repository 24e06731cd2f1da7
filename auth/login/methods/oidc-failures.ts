/** What goes wrong between this edge and the provider, as one of our errors with a reason for the log. */

import { AuthorizationResponseError, ClientError, ResponseBodyError } from 'openid-client'
import { LoginError } from '../errors.ts'

/** RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6: the person, not the provider, said no. */
const REFUSALS = new Set([
  'access_denied',
  'login_required',
  'interaction_required',
  'account_selection_required',
  'consent_required',
])
const AWAY = new Set(['OAUTH_TIMEOUT', 'OAUTH_ABORT'])
const OUTAGES = new Set(['temporarily_unavailable', 'server_error'])
const MAX_TEXT = 200
const SERVER_ERROR = 500

/** Never shows what the provider says: that is for the log. */
export function toLoginError(error: unknown): LoginError {
  if (error instanceof LoginError) return error
  if (error instanceof AuthorizationResponseError) return toAnswerError(error)
  if (error instanceof ResponseBodyError) return toTokenError(error)
  const code = isAway(error) ? 'login_provider_down' : 'login_provider_failed'
  return new LoginError(code, { cause: error, context: { reason: reasonOf(error) } })
}

/** The provider sent the browser back with an error. */
function toAnswerError({ error, error_description: description }: AuthorizationResponseError): LoginError {
  const code = REFUSALS.has(error) ? 'login_provider_refused' : 'login_provider_failed'
  return new LoginError(code, { context: contextOf('authorization-response', error, description) })
}

/** The provider did not give tokens for the code. */
function toTokenError(failure: ResponseBodyError): LoginError {
  const { error, error_description: description, status } = failure
  const context = { ...contextOf('token-response', error, description), status }
  if (error === 'invalid_grant') return new LoginError('login_expired', { context })
  const isOut = status >= SERVER_ERROR || OUTAGES.has(error)
  return new LoginError(isOut ? 'login_provider_down' : 'login_provider_failed', { context })
}

function contextOf(reason: string, error: string, description: string | undefined) {
  return {
    reason,
    error: error.slice(0, MAX_TEXT),
    ...(description !== undefined && { description: description.slice(0, MAX_TEXT) }),
  }
}

/** Fetch says `TypeError` for whatever keeps it from an answer. */
function isAway(error: unknown): boolean {
  if (error instanceof ClientError) {
    return AWAY.has(error.code ?? '') || isServerError(error.cause)
  }
  return error instanceof TypeError && error.cause !== undefined
}

/** The library's cause for an unexpected status is the response. */
function isServerError(cause: unknown): boolean {
  return cause instanceof Response && cause.status >= SERVER_ERROR
}

function reasonOf(error: unknown): string {
  const { code, cause } = error as { code?: unknown; cause?: { code?: unknown } }
  const text = typeof code === 'string' ? code : cause?.code
  return typeof text === 'string' ? text : 'unknown'
}
