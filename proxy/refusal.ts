/** Turns an error into the answer to a request: Proxy-Status, and problem+json or a page by what the client reads. */

import { STATUS_CODES } from 'node:http'
import { type Fault, LandfallError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { problemOf } from '../lib/problem.ts'
import { isFromBrowser, isNavigation, wantsHtml } from './browsers.ts'
import { type ErrorPageLink, errorPage } from './error-page.ts'
import { RelayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { recordFault } from './exchange-record.ts'
import { loginPath, switchPath } from './login-paths.ts'

export interface RefusalDeps {
  readonly edgeName: string
  readonly log: Log
  readonly settle: (exchange: Exchange) => void
}

/** The one place that answers errors. Of an error that is not ours the client learns nothing. */
export function createRefuse(deps: RefusalDeps): (exchange: Exchange, error: unknown) => void {
  return (exchange, thrown) => {
    const error =
      thrown instanceof LandfallError ? thrown : new RelayError('internal_error', { cause: thrown })
    recordFault(exchange.record, error)
    if (error.code === 'internal_error')
      deps.log.error({ err: error.cause, requestId: exchange.id }, 'request failed inside the edge')
    if (exchange.headSent) exchange.abort()
    else if (error.code === 'auth_required' && isNavigation(exchange))
      sendToLogin(exchange, error, deps.edgeName)
    else answer(exchange, error, deps.edgeName)
    deps.settle(exchange)
  }
}

/** RFC 9449 section 7.1. */
const PROOFS = 'algs="ES256 EdDSA"'
const ALLOWED_METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'

/** 303: whatever the method was, the login is a GET (RFC 9110 section 15.4.4). */
function sendToLogin(exchange: Exchange, error: LandfallError, edgeName: string): void {
  const headers = [
    ...[
      'location',
      loginPath(exchange),
      'content-length',
      '0',
      'cache-control',
      'no-store',
      'vary',
      'cookie',
    ],
    ...errorFields(error, exchange.id, edgeName),
  ]
  exchange.start(303, STATUS_CODES[303] ?? '', headers, { mayHaveTrailers: false, hasBody: false })
  exchange.end()
}

function answer(exchange: Exchange, error: LandfallError, edgeName: string): void {
  const isPage = wantsHtml(exchange)
  const body = Buffer.from(
    isPage ? pageOf(exchange, error) : `${JSON.stringify(problemOf(error, exchange.id))}\n`,
  )
  const { status, source } = error.fault
  const headers = [
    'content-type',
    isPage ? 'text/html; charset=utf-8' : 'application/problem+json',
    'content-length',
    String(body.length),
    'cache-control',
    'no-store',
    ...errorFields(error, exchange.id, edgeName),
  ]
  headers.push(...fieldsByStatus(exchange, error))
  // A request that could be read in two ways leaves a connection whose next bytes cannot be trusted.
  if (source === 'client' && (status === 400 || status === 505)) exchange.distrustConnection()
  const hasBody = exchange.method !== 'HEAD'
  exchange.start(status, STATUS_CODES[status] ?? '', headers, { mayHaveTrailers: false, hasBody })
  exchange.end(hasBody ? body : undefined)
}

function fieldsByStatus(exchange: Exchange, error: LandfallError): string[] {
  const { status, retryable } = error.fault
  const fields = error.code.startsWith('auth_') ? ['vary', 'cookie'] : []
  // RFC 9110 section 15.5.6; of the methods that are taken, those that clients know.
  if (status === 405) fields.push('allow', ALLOWED_METHODS)
  if (status === 401) fields.push(...challenges(exchange, error))
  if (retryable && (status === 503 || status === 429)) fields.push('retry-after', String(secondsUntil(error)))
  return fields
}

/** Where a moment is known, such as that of an order's next try; else soon. */
function secondsUntil({ context: { retryAtMs } }: LandfallError): number {
  return typeof retryAtMs === 'number' ? Math.max(1, Math.ceil((retryAtMs - Date.now()) / 1_000)) : 1
}

/**
 * RFC 9110 section 15.5.2 wants one with every 401. Basic is for git and curl, which take it up by themselves; a browser
 * would open its own window for a password that nobody has.
 */
function challenges(exchange: Exchange, { code }: LandfallError): string[] {
  const realm = `realm="${exchange.authority.host}"`
  // RFC 6750 section 3.1.
  const fault = code === 'auth_invalid' ? ', error="invalid_token"' : ''
  const bearer = ['www-authenticate', `Bearer ${realm}${fault}`]
  const mayAskForPassword = !isFromBrowser(exchange) && !wantsHtml(exchange)
  if (!mayAskForPassword) return bearer
  const basic = `Basic ${realm}, charset="UTF-8"`
  return [...bearer, 'www-authenticate', basic, 'www-authenticate', `DPoP ${realm}, ${PROOFS}`]
}

/** Fields of every answer that is ours, alternating names and values. */
export function errorFields(error: LandfallError, requestId: string, edgeName: string): string[] {
  return ['proxy-status', proxyStatus(error.code, error.fault, edgeName), 'x-request-id', requestId]
}

/** RFC 9209 section 2; the code is a token, so it needs no escaping in the string. */
function proxyStatus(code: string, fault: Fault, edgeName: string): string {
  return `${edgeName}; error=${fault.proxyStatus ?? 'http_request_denied'}; details="${code}"`
}

function pageOf(exchange: Exchange, { code, fault, detail }: LandfallError): string {
  const link = linkFor(exchange, code)
  const facts = { code, fault, detail, requestId: exchange.id, host: exchange.authority.host }
  return errorPage({ ...facts, ...(link !== undefined && { link }) })
}

/** What the reader of a page can do at once. */
function linkFor(exchange: Exchange, code: string): ErrorPageLink | undefined {
  if (code === 'auth_required' || code === 'auth_invalid')
    return { text: 'Log in', path: loginPath(exchange) }
  if (code === 'auth_forbidden') return { text: 'Log in as somebody else', path: switchPath(exchange) }
  return undefined
}
