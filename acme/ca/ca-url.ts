/** Which URLs of a certificate authority are followed. */

import { isLoopback } from '../../lib/loopback.ts'
import { CaProblem } from './ca-problem.ts'

const MAX_CHARACTERS = 2_048

/**
 * Returns it when it is HTTPS, or plain HTTP to this machine for a directory that is so itself (RFC 8555 section 6.1).
 * @throws CaProblem ca_nonsense
 */
export function checkUrl(value: unknown, directory: string): string {
  const url = typeof value === 'string' && value.length <= MAX_CHARACTERS ? URL.parse(value) : null
  const isFine = url !== null && url.username === '' && url.password === '' && isSafe(url, directory)
  if (isFine && typeof value === 'string') return value
  throw CaProblem.nonsense(`Not a URL to follow: ${String(value).slice(0, 200)}`)
}

function isSafe(url: URL, directory: string): boolean {
  if (url.protocol === 'https:') return true
  return isPlain(url) && isPlain(new URL(directory))
}

function isPlain({ protocol, hostname }: URL): boolean {
  return protocol === 'http:' && isLoopback(hostname)
}

/** What people call a CA by: the host of its directory. */
export function hostOf(directory: string): string {
  return URL.parse(directory)?.host ?? directory
}
