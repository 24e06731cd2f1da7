/** A metadata answer as HTTP/1.1 (RFC 9112). */

import { STATUS_CODES } from 'node:http'
import type { MetadataAnswer } from './metadata.ts'

/** The length is always there: not every guest's connection can be seen to end. */
export function formatAnswer({ status, type, body }: MetadataAnswer): string {
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `Content-Type: ${type}; charset=utf-8`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    'Connection: close',
    '',
    body,
  ].join('\r\n')
}

export const BAD_REQUEST =
  'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n'
