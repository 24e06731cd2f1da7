/** Which host a request is for, and whether that host's own page sent it. */

import type { FastifyRequest } from 'fastify'
import { LoginError } from './errors.ts'

/** Lower case, without port and trailing dot, as the route table has it; the edge has checked the field. */
export function hostnameOf(host: string | undefined): string {
  const name = (host ?? '').toLowerCase().replace(/:\d+$/, '')
  return name.endsWith('.') ? name.slice(0, -1) : name
}

/**
 * For forms that change something. Sec-Fetch-Site decides where the browser sends it; else Origin has to be the host's
 * own. Our pages have no referrer, so the Origin of their own forms is `null` (Fetch, "append a request Origin header").
 * @throws LoginError `login_origin`, also when the request says neither
 */
export function checkSameOrigin({ headers }: FastifyRequest): void {
  const site = headers['sec-fetch-site']
  const { origin, host } = headers
  if (site !== undefined && site !== 'same-origin') throw new LoginError('login_origin')
  const isSaid = site !== undefined && (origin === undefined || origin === 'null')
  if (!isSaid && !isOwn(origin, host)) throw new LoginError('login_origin')
}

/**
 * For pages that a person opens, whose cookies and codes are nothing for a frame, an image or a script. Browsers that
 * do not say what they load for are believed (https://www.w3.org/TR/fetch-metadata/).
 * @throws LoginError `login_request_malformed`
 */
export function checkWholePage({ headers }: FastifyRequest): void {
  const { 'sec-fetch-mode': mode = 'navigate', 'sec-fetch-dest': dest = 'document' } = headers
  if (mode !== 'navigate' || dest !== 'document') throw new LoginError('login_request_malformed')
}

/** True when another site than the platform's sent the browser here, itself or over redirects of ours. */
export function isSentByOthers({ headers }: FastifyRequest): boolean {
  return headers['sec-fetch-site'] === 'cross-site'
}

/** True when a page of this very host led here, and for browsers that do not say. */
export function isFromOwnPage({ headers }: FastifyRequest): boolean {
  const { 'sec-fetch-site': site = 'same-origin' } = headers
  return site === 'same-origin'
}

/** Any port: cookies do not tell ports apart either. */
function isOwn(origin: string | undefined, host: string | undefined): boolean {
  if (origin === undefined || !URL.canParse(origin)) return false
  const { protocol, hostname } = new URL(origin)
  return protocol === 'https:' && hostname === hostnameOf(host)
}
