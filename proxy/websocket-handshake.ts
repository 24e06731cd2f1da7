/** The WebSocket handshake on both sides (RFC 6455 section 4, RFC 8441): checked here, made here for HTTP/2 clients. */

import { createHash, randomBytes } from 'node:crypto'
import { RelayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { findField, hasToken, joinFields } from './field-lines.ts'
import type { ResponseHead } from './response-parser.ts'

export interface Handshake {
  /** Lines for the VM that the client's own fields do not hold. */
  readonly extraLines: string
  /** What the VM must answer in Sec-WebSocket-Accept. */
  readonly acceptKey: string
}

/** RFC 6455 section 1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const KEY = /^[A-Za-z0-9+/]{22}==$/

/** @throws RelayError request_upgrade */
export function readHandshake(exchange: Exchange): Handshake {
  const version = findOnly(exchange, 'sec-websocket-version')
  if (version !== '13') throw new RelayError('request_upgrade', { detail: 'Sec-WebSocket-Version is not 13' })
  const given = findOnly(exchange, 'sec-websocket-key')
  if (exchange.version === '2') return makeHandshake(given)
  if (exchange.method !== 'GET' || exchange.version !== '1.1') throw new RelayError('request_upgrade')
  if (given === undefined || !KEY.test(given))
    throw new RelayError('request_upgrade', { detail: 'Sec-WebSocket-Key' })
  return { extraLines: '', acceptKey: acceptKeyFor(given) }
}

/** RFC 6455 section 11.3: neither field may occur twice, or edge and VM could read different ones. */
function findOnly({ rawHeaders }: Exchange, name: string): string | undefined {
  const isRepeated = rawHeaders.filter((field, at) => at % 2 === 0 && field.toLowerCase() === name).length > 1
  if (isRepeated) throw new RelayError('request_upgrade', { detail: `${name} twice` })
  return findField(rawHeaders, name)
}

/** RFC 8441 section 5.1: over HTTP/2 there is no key; the VM speaks HTTP/1.1 and wants one. */
function makeHandshake(given: string | undefined): Handshake {
  if (given !== undefined)
    throw new RelayError('request_upgrade', { detail: 'Sec-WebSocket-Key over HTTP/2' })
  const key = randomBytes(16).toString('base64')
  return { extraLines: `sec-websocket-key: ${key}\r\n`, acceptKey: acceptKeyFor(key) }
}

function acceptKeyFor(key: string): string {
  return createHash('sha1')
    .update(key + GUID)
    .digest('base64')
}

/** @throws RelayError upstream_upgrade when the VM's 101 is not the answer to the client's handshake */
export function checkHandshake(head: ResponseHead, acceptKey: string | undefined): void {
  const upgrade = findField(head.headers, 'upgrade')?.toLowerCase()
  if (upgrade !== 'websocket')
    throw new RelayError('upstream_upgrade', { detail: 'Upgrade is not websocket' })
  if (!hasToken(joinFields(head, 'connection'), 'upgrade')) {
    throw new RelayError('upstream_upgrade', { detail: 'Connection does not name Upgrade' })
  }
  if (acceptKey === undefined || findField(head.headers, 'sec-websocket-accept') !== acceptKey) {
    throw new RelayError('upstream_upgrade', { detail: 'Sec-WebSocket-Accept is wrong' })
  }
}
