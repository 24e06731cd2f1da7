/** Which hosts are this machine, where TLS protects nothing. */

import { isIP } from 'node:net'

/** A host of a URL, in brackets or not; RFC 6761 section 6.3: every name below `localhost`. */
export function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '')
  if (isIP(host) === 0) return host === 'localhost' || host.endsWith('.localhost')
  return host === '::1' || host.startsWith('127.')
}
