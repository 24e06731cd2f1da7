/** IPv4 addresses and networks as numbers, and what a guest's slot makes of them. */

import { SidecarError } from '../errors.ts'

export interface Ipv4Network {
  /** Its first address. */
  readonly base: number
  /** 0 to 32. */
  readonly prefix: number
}

const NETWORK = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/
const OCTETS = [24, 16, 8, 0]
const MAX_OCTET = 255
const BITS = 32

/** Undefined unless it is a network in CIDR whose address has no bits beyond its prefix. */
export function findIpv4Network(text: string): Ipv4Network | undefined {
  const numbers = NETWORK.exec(text)?.slice(1).map(Number) ?? []
  const prefix = numbers.pop() ?? Number.NaN
  if (numbers.length !== OCTETS.length || numbers.some((octet) => octet > MAX_OCTET)) return undefined
  const base = numbers.reduce((sum, octet) => sum * (MAX_OCTET + 1) + octet, 0)
  const isAligned = prefix <= BITS && base % 2 ** (BITS - prefix) === 0
  return isAligned ? { base, prefix } : undefined
}

export function formatIpv4(address: number): string {
  return OCTETS.map((shift) => Math.floor(address / 2 ** shift) % (MAX_OCTET + 1)).join('.')
}

/** The guest's own. @throws SidecarError network_failed when the network has no such address */
export function addressOfSlot(network: Ipv4Network, slot: number): string {
  // The last address of a network is its broadcast address to some systems.
  const last = 2 ** (BITS - network.prefix) - 2
  if (slot >= 1 && slot <= last) return formatIpv4(network.base + slot)
  const name = `${formatIpv4(network.base)}/${network.prefix}`
  throw new SidecarError('network_failed', { detail: `${name} has no address for slot ${slot}` })
}

/** Locally administered; the fourth octet tells the ends of a guest's way apart. */
export type MacRole = 'guest' | 'host' | 'namespace'
const ROLES: Readonly<Record<MacRole, number>> = { guest: 1, host: 2, namespace: 3 }

export function macOfSlot(role: MacRole, slot: number): string {
  const octets = [0x02, 0x4c, 0x46, ROLES[role], Math.floor(slot / 256), slot % 256]
  return octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':')
}
