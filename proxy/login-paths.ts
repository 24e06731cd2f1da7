/** Where a refused browser logs in: the edge's own page on the same host, with the way back. */

import type { Exchange } from './exchange.ts'

const LOGIN_PATH = '/.landfall/login'
/** What comes back has to fit into a cookie. */
const MAX_RETURN_BYTES = 2_048

/** `to` is the target in percent-encoding; without its query, or nothing but `/`, when it is too long. */
export function loginPath(exchange: Exchange): string {
  return `${LOGIN_PATH}?to=${returnTarget(exchange)}`
}

/** Logs in anew although there is a login. */
export function switchPath(exchange: Exchange): string {
  return `${loginPath(exchange)}&switch=1`
}

/** What was sent with another method cannot be sent again by a link. */
function returnTarget({ method, target }: Exchange): string {
  const path = target.split('?')[0] ?? '/'
  const ways = method === 'GET' ? [target, path, '/'] : ['/']
  return ways.map(encodeURIComponent).find((way) => way.length <= MAX_RETURN_BYTES) ?? '%2F'
}
