/** Which URLs of a certificate authority are followed. */

import { isLoopback } from '../../lib/loopback.ts'
import { toRegisteredDomain } from '../hostnames.ts'
import { CaProblem } from './ca-problem.ts'

const MAX_CHARACTERS = 2_048

/**
 * Returns it when it is HTTPS to a host of the directory's registered domain, or plain HTTP to this machine for a directory
 * that is so itself (RFC 8555 section 6.1): no authority has us ask what else edges can reach.
 * @throws CaProblem ca_nonsense
 */
export function checkUrl(value: unknown, directory: string): string {
  const url = typeof value === 'string' && value.length <= MAX_CHARACTERS ? URL.parse(value) : null
  const isFine = url !== null && url.username === '' && url.password === '' && isSafe(url, directory)
  if (isFine && typeof value === 'string') return value
  throw CaProblem.nonsense(`Not a URL to follow for ${hostOf(directory)}: ${String(value).slice(0, 200)}`)
}

function isSafe(url: URL, directory: string): boolean {
  const home = new URL(directory)
  if (url.protocol === 'https:') return toRegisteredDomain(url.hostname) === toRegisteredDomain(home.hostname)
  return isPlain(url) && isPlain(home)
}

function isPlain({ protocol, hostname }: URL): boolean {
  return protocol === 'http:' && isLoopback(hostname)
}

/** What people call a CA by: the host of its directory. */
export function hostOf(directory: string): string {
  return URL.parse(directory)?.host ?? directory
}
