/** Bytes of responses for tables, written so that a row fits on a line. */

import type { Asked } from './response-outcome.ts'

export const GET: Asked = { method: 'GET', isUpgrade: false }
export const HEAD: Asked = { method: 'HEAD', isUpgrade: false }
export const UPGRADE: Asked = { method: 'GET', isUpgrade: true }

/** Latin1, with `|` for CRLF. */
export function bytesOf(text: string): Buffer {
  return Buffer.from(text.replaceAll('|', '\r\n'), 'latin1')
}

/** Cuts that make each byte a read of its own. */
export function cutsAfterEach(bytes: Buffer): number[] {
  return Array.from({ length: Math.max(0, bytes.length - 1) }, (_, at) => at + 1)
}
