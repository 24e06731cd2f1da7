/** The paths that are never a VM's, on every host: the page of errors is answered here, the others by our own service. */

import { ERRORS_PATH } from '../lib/problem.ts'
import type { Exchange } from './exchange.ts'

const DOT = 46
const OWN_FOLDER = '/.landfall/'
/** RFC 8615. */
const OWN_WELL_KNOWN = '/.well-known/landfall/'

export interface OwnPathDeps {
  /** The page that explains every error code, as HTML. */
  readonly errorsPage: Buffer
  readonly settle: (exchange: Exchange) => void
}

/** As a client may spell it and no other way: what only looks like it is for the gate and the VM. */
export function isOwnTarget(target: string): boolean {
  // Of each request the second character is looked at, and mostly nothing else.
  return target.charCodeAt(1) === DOT && (target.startsWith(OWN_FOLDER) || target.startsWith(OWN_WELL_KNOWN))
}

/** True when the request was for the edge, and has its answer. */
export function answerOwnPath(exchange: Exchange, { errorsPage, settle }: OwnPathDeps): boolean {
  const { method, target } = exchange
  if (!target.startsWith(ERRORS_PATH)) return false
  if (target.split('?')[0] !== ERRORS_PATH || (method !== 'GET' && method !== 'HEAD')) return false
  const hasBody = method === 'GET'
  const headers = [
    'content-type',
    'text/html; charset=utf-8',
    'content-length',
    String(errorsPage.length),
    'cache-control',
    'max-age=3600',
    'x-request-id',
    exchange.id,
  ]
  exchange.start(200, 'OK', headers, { mayHaveTrailers: false, hasBody })
  exchange.end(hasBody ? errorsPage : undefined)
  settle(exchange)
  return true
}
