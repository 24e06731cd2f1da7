/** Upstream addresses as people write them: `127.0.0.1:9000`, `[::1]:9000`, `app.internal:9000`. */

import { isIP, isIPv6 } from 'node:net'
import { FieldReader, PORT_BOUNDS } from './field-reader.ts'
import { toHostname } from './hostname.ts'
import type { Address } from './records.ts'

const WRITTEN = /^(?:\[(?<ipv6>[0-9A-Fa-f:.]{2,45})\]|(?<host>[^:[\]]{1,253})):(?<port>[1-9]\d{0,4})$/

/** The address, or undefined when the text is not one. */
export function toAddress(text: string): Address | undefined {
  const { ipv6, host = '', port } = WRITTEN.exec(text)?.groups ?? {}
  const number = Number(port)
  if (!(number <= PORT_BOUNDS.max)) return undefined
  if (ipv6 !== undefined) return isIPv6(ipv6) ? { host: ipv6.toLowerCase(), port: number } : undefined
  const name = isIP(host) === 4 ? host : toHostname(host)
  return name === undefined ? undefined : { host: name, port: number }
}

/** The written form; `toAddress` reads it back. */
export function formatAddress({ host, port }: Address): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

/** @throws RecordInvalid */
export function parseAddressRecord(value: unknown, pointer: string): Address {
  const fields = new FieldReader(value, ['host', 'port'], pointer)
  const address = {
    host: fields.text('host', { what: 'an IP address or a host name', accepts: isDialable }),
    port: fields.int('port', PORT_BOUNDS),
  }
  return Object.freeze(address)
}

function isDialable(host: string): boolean {
  // An IPv6 zone (fe80::1%eth0) means something on one machine only.
  return isIP(host) === 0 ? toHostname(host) === host : !host.includes('%')
}
