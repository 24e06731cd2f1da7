/** The one canonical form of a host name: lower case, IDNA A-labels, no trailing dot. */

import { isIP } from 'node:net'
import { domainToASCII } from 'node:url'
import { RecordInvalid } from '../errors.ts'

const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
/** RFC 1123 section 2.1 and RFC 1035 section 2.3.4: letters, digits, hyphen; labels of 1–63; 253 in all. */
const CANONICAL = new RegExp(`^(?=.{1,253}$)${LABEL}(?:\\.${LABEL})*$`)
/** The URL standard takes a name whose last label is a number for an IPv4 address. */
const NUMERIC_END = /(?:^|\.)(?:\d+|0x[0-9a-f]*)$/
/** `domainToASCII` drops tabs, decodes %41 and cuts at / # and \: none of that may reach it. */
const FOREIGN_ASCII = /[^A-Za-z0-9.\-\u0080-\u{10ffff}]/u
const MAX_INPUT_CHARACTERS = 1_024

/** The canonical form, or undefined when the text is not a host name (IP addresses, ports and wildcards are not). */
export function toHostname(text: string): string | undefined {
  const name = isCanonicalText(text) ? text : toLabels(text)
  return name !== undefined && CANONICAL.test(name) && !NUMERIC_END.test(name) ? name : undefined
}

/** True for a canonical host name of two labels or more: a single label cannot have a public certificate. */
export function isRouteHostname(text: string): boolean {
  return text.includes('.') && toHostname(text) === text
}

/** The canonical form of the name of a route. @throws RecordInvalid with the field `/hostname` */
export function parseRouteHostname(text: string): string {
  const hostname = toHostname(text)
  if (hostname?.includes('.')) return hostname
  throw new RecordInvalid(
    '/hostname',
    'It must be a host name of two labels or more (no IP address, no port, no wildcard, no underscore).',
  )
}

/** True for one label in lower case, which is what a VM's name is. */
export function isLabel(text: string): boolean {
  return !text.includes('.') && CANONICAL.test(text)
}

/** True for an IP address or a canonical host name. */
export function isDialable(host: string): boolean {
  // An IPv6 zone (fe80::1%eth0) means something on one machine only.
  return isIP(host) === 0 ? toHostname(host) === host : !host.includes('%')
}

// The hot path: most names arrive canonical, and only an A-label needs its Punycode checked.
function isCanonicalText(text: string): boolean {
  return CANONICAL.test(text) && !text.includes('xn--')
}

function toLabels(text: string): string | undefined {
  if (text.length > MAX_INPUT_CHARACTERS || FOREIGN_ASCII.test(text)) return undefined
  const ascii = domainToASCII(text)
  return ascii.endsWith('.') ? ascii.slice(0, -1) : ascii
}
