/** Host names: as they come in handshakes, which of them a certificate's names stand for, which are the platform's own. */

import { isIP } from 'node:net'
import { getDomain } from 'tldts'
import { isHostnameText } from '../lib/address-text.ts'

/** In lower case; undefined for what is no host name. */
export function findHostname(text: string | undefined): string | undefined {
  if (text === undefined || text.length > 253) return undefined
  const name = text.toLowerCase()
  return isHostnameText(name) && isIP(name) === 0 ? name : undefined
}

/** RFC 9525 section 6.3: a wildcard stands for exactly one label, the leftmost. */
export function matches(pattern: string, hostname: string): boolean {
  if (!pattern.startsWith('*.')) return pattern === hostname
  const dot = hostname.indexOf('.')
  return dot > 0 && hostname.slice(dot) === pattern.slice(1)
}

/** The platform's own names at any depth: nobody else gets a certificate for one. */
export function isWithin(hostname: string, domain: string): boolean {
  return hostname === domain || hostname.endsWith(`.${domain}`)
}

/** What the one certificate of the platform is for. */
export function toPlatformNames(domain: string): readonly [string, string] {
  return [domain, `*.${domain}`]
}

/** Without the `*.` of a wildcard, which is proven by the name itself (RFC 8555 section 7.1.3). */
export function toBareName(name: string): string {
  return name.startsWith('*.') ? name.slice(2) : name
}

/** Such domains are for development: no public CA issues for one, and no client takes its wildcard (`*.localhost`). */
export function isSingleLabel(domain: string): boolean {
  return !domain.includes('.')
}

/** A mistyped name needs a certificate of its own to be shown our 404 then; elsewhere strangers cost nothing. */
export function isBelowSingleLabel(hostname: string, domain: string): boolean {
  return isSingleLabel(domain) && isWithin(hostname, domain) && hostname.split('.').length === 2
}

/** In front of the root: deeper names are a sign of a wildcard record that somebody walks through, and are not ordered for. */
export const MAX_ORDERED_LABELS = 8

/** The registered domain as CAs see it (public suffix list, its private part included); `*.` in front counts for nothing. */
export function findRegisteredDomain(name: string): string | undefined {
  return getDomain(toBareName(name), { allowPrivateDomains: true }) ?? undefined
}

/** Or the name itself where there is none. */
export function toRegisteredDomain(name: string): string {
  return findRegisteredDomain(name) ?? toBareName(name)
}
