/** What a request tells of the browser that sent it, or that a program did. */

import type { Exchange } from './exchange.ts'

/** True for a browser that goes to a page; programs, scripts and whoever brought a credential get the problem itself. */
export function isNavigation(exchange: Exchange): boolean {
  const { method, isUpgrade, isConnect, fields } = exchange
  if (method !== 'GET' || isUpgrade || isConnect) return false
  if (fields.authorizationCount + fields.ownAuthorizationCount + fields.proofCount > 0) return false
  if (isFromBrowser(exchange)) return fields.fetchMode.toLowerCase() === 'navigate'
  return wantsHtml(exchange)
}

/** Browsers say so by themselves, and no script can add or take away these fields (Fetch Metadata). */
export function isFromBrowser({ fields }: Exchange): boolean {
  return fields.fetchMode !== '' || fields.fetchSite !== ''
}

/** A browser's navigation names text/html first; programs send a star or a type of their own. */
export function wantsHtml({ fields }: Exchange): boolean {
  return fields.accept.toLowerCase().includes('text/html')
}
