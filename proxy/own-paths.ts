/** The paths under `/.landfall/` that an edge answers itself, on every host. */

import { ERRORS_PATH } from '../lib/problem.ts'
import { errorsPage } from './error-page.ts'
import type { Exchange } from './exchange.ts'

/** True when the request was for the edge, and has its answer. */
export function answerOwnPath(exchange: Exchange): boolean {
  if (exchange.target !== ERRORS_PATH || exchange.method !== 'GET') return false
  const body = Buffer.from(errorsPage())
  const headers = [
    'content-type',
    'text/html; charset=utf-8',
    'content-length',
    String(body.length),
    'cache-control',
    'max-age=3600',
  ]
  exchange.start(200, 'OK', headers, { mayHaveTrailers: false, hasBody: true })
  exchange.end(body)
  return true
}
