/** Turns an error into the answer to a request: Proxy-Status, and problem+json or a page by what the client reads. */

import { STATUS_CODES } from 'node:http'
import { type Fault, LandfallError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { problemOf } from '../lib/problem.ts'
import { errorPage } from './error-page.ts'
import { RelayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { recordFault } from './exchange-record.ts'

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
    else answer(exchange, error, deps.edgeName)
    deps.settle(exchange)
  }
}

const ALLOWED_METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'

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
  // A request that could be read in two ways leaves a connection whose next bytes cannot be trusted.
  if (source === 'client' && (status === 400 || status === 505)) exchange.distrustConnection()
  // RFC 9110 section 15.5.6; of the methods that are taken, those that clients know.
  if (status === 405) headers.push('allow', ALLOWED_METHODS)
  // RFC 9110 section 15.5.2 wants one with every 401.
  if (status === 401) headers.push('www-authenticate', `Bearer realm="${exchange.authority.host}"`)
  if (error.fault.retryable && status === 503) headers.push('retry-after', '1')
  const hasBody = exchange.method !== 'HEAD'
  exchange.start(status, STATUS_CODES[status] ?? '', headers, { mayHaveTrailers: false, hasBody })
  exchange.end(hasBody ? body : undefined)
}

/** Fields of every answer that is ours, alternating names and values. */
export function errorFields(error: LandfallError, requestId: string, edgeName: string): string[] {
  return ['proxy-status', proxyStatus(error.code, error.fault, edgeName), 'x-request-id', requestId]
}

/** RFC 9209 section 2; the code is a token, so it needs no escaping in the string. */
function proxyStatus(code: string, fault: Fault, edgeName: string): string {
  return `${edgeName}; error=${fault.proxyStatus ?? 'http_request_denied'}; details="${code}"`
}

/** A browser's navigation names text/html first; programs send a star or a type of their own. */
function wantsHtml({ fields }: Exchange): boolean {
  return fields.accept.toLowerCase().includes('text/html')
}

function pageOf(exchange: Exchange, { code, fault, detail }: LandfallError): string {
  return errorPage({ code, fault, detail, requestId: exchange.id, host: exchange.authority.host })
}
