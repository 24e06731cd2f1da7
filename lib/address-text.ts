/** Texts that name a place in a network: addresses, ranges, endpoints, host names. */

import { BlockList, isIP, isIPv6 } from 'node:net'

/** RFC 1123 section 2.1, in lower case. */
const HOSTNAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/
const ENDPOINT = /^(?:\[([0-9a-f:.]+)\]|([0-9.]+|[0-9a-f:.]*:[0-9a-f:.]*))(?::(\d{1,5}))?$/i
const MAX_PORT = 65_535

export interface Endpoint {
  /** An IP address. */
  readonly host: string
  readonly port: number
}

export function isHostnameText(text: string): boolean {
  return HOSTNAME.test(text)
}

/** One label of a host name. */
export function isLabelText(text: string): boolean {
  return isHostnameText(text) && !text.includes('.')
}

export function isAddress(text: string): boolean {
  return isIP(text) !== 0
}

/** An address, or a range as 10.0.0.0/8. */
export function isRange(text: string): boolean {
  const match = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text)
  const [, address = '', prefix] = match ?? []
  try {
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    const whole = family === 'ipv6' ? 128 : 32
    new BlockList().addSubnet(address, prefix === undefined ? whole : Number(prefix), family)
    return isAddress(address)
  } catch {
    return false
  }
}

/** `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1` or `[2001:db8::1]:53`. Undefined when it is none of these. */
export function parseEndpoint(text: string, defaultPort: number): Endpoint | undefined {
  // A bare IPv6 address ends in what looks like a port.
  if (isIP(text) === 6) return { host: text, port: defaultPort }
  const [, bracketed, bare, port = String(defaultPort)] = ENDPOINT.exec(text) ?? []
  const isPlaced = bracketed === undefined ? isIP(bare ?? '') === 4 : isIP(bracketed) === 6
  return isPlaced && Number(port) <= MAX_PORT
    ? { host: bracketed ?? bare ?? '', port: Number(port) }
    : undefined
}

/** As Node's `Resolver.setServers` takes it. */
export function toServerText({ host, port }: Endpoint): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}
