/** The host that a request names, read strictly: what two parsers could read differently is refused. */

import { isIPv6 } from 'node:net'
import { RelayError } from './errors.ts'

export interface Authority {
  /** As the client sent it, for X-Forwarded-Host and the VM's Host field. */
  readonly text: string
  /** Lower case, without port and trailing dot: the key of the route table. */
  readonly host: string
  /** The port, when the client named one. */
  readonly port: number | undefined
}

/** Before the request's own has been read. */
export const NO_AUTHORITY: Authority = { text: '', host: '', port: undefined }

/** RFC 3986 section 3.2.2 without user info, percent-encoding and IP literals of the future. */
const AUTHORITY =
  /^([A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]{2,45}\])(?::(\d{1,5}))?$/

/** @throws RelayError request_host */
export function parseAuthority(text: string): Authority {
  const match = AUTHORITY.exec(text)
  if (match === null || match[1]?.includes('..')) throw new RelayError('request_host')
  if (match[1]?.startsWith('[') && !isIPv6(match[1].slice(1, -1)))
    throw new RelayError('request_host', { detail: 'not an IPv6 address' })
  const port = match[2] === undefined ? undefined : Number(match[2])
  if (port !== undefined && (port < 1 || port > 65_535))
    throw new RelayError('request_host', { detail: 'port out of range' })
  return { text, host: canonical(match[1] ?? ''), port }
}

function canonical(host: string): string {
  const lower = host.toLowerCase()
  return lower.endsWith('.') ? lower.slice(0, -1) : lower
}
