/** Upstream addresses as people write them: `127.0.0.1:9000`, `[::1]:9000`, `app.internal:9000`. */

import { isIP, isIPv6 } from 'node:net'
import { toHostname } from './hostname.ts'
import type { Address } from './records.ts'

const MAX_PORT = 65_535
const WRITTEN = /^(?:\[(?<ipv6>[0-9A-Fa-f:.]{2,45})\]|(?<host>[^:[\]]{1,253})):(?<port>[1-9]\d{0,4})$/

/** The address, or undefined when the text is not one. */
export function toAddress(text: string): Address | undefined {
  const { ipv6, host = '', port } = WRITTEN.exec(text)?.groups ?? {}
  const number = Number(port)
  if (!(number <= MAX_PORT)) return undefined
  if (ipv6 !== undefined) return isIPv6(ipv6) ? { host: ipv6.toLowerCase(), port: number } : undefined
  const name = isIP(host) === 4 ? host : toHostname(host)
  return name === undefined ? undefined : { host: name, port: number }
}

/** The written form; `toAddress` reads it back. */
export function formatAddress({ host, port }: Address): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}
