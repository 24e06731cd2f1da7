/** The paths under `/.landfall/` that an edge answers itself, on every host. */

import { ERRORS_PATH } from '../lib/problem.ts'
import type { Exchange } from './exchange.ts'

export interface OwnPathDeps {
  /** The page that explains every error code, as HTML. */
  readonly errorsPage: Buffer
  readonly settle: (exchange: Exchange) => void
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
