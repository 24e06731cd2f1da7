/** Whom an address stands for, where something is counted by client. */

import { isIPv6 } from 'node:net'

const MAPPED = '::ffff:'
const GROUPS = 8
/** A /64 is what one customer has. */
const NETWORK_GROUPS = 4

/** An IPv4 address, or the first four groups of an IPv6 address. */
export function toClient(address: string): string {
  if (!isIPv6(address)) return address
  const lower = address.toLowerCase()
  if (lower.startsWith(MAPPED) && lower.includes('.')) return lower.slice(MAPPED.length)
  return toGroups(lower)
    .slice(0, NETWORK_GROUPS)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')
}

function toGroups(address: string): string[] {
  const [head = '', tail] = address.split('::', 2)
  const groups = head === '' ? [] : head.split(':')
  if (tail === undefined) return groups
  const behind = tail === '' ? [] : tail.split(':')
  const zeros = Array<string>(Math.max(0, GROUPS - groups.length - behind.length)).fill('0')
  return [...groups, ...zeros, ...behind]
}
