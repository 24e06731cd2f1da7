/** One key of session tickets: 48 random bytes, sealed together. */

import { randomBytes } from 'node:crypto'
import type { Sealer } from '../../lib/seal.ts'
import type { TicketKeyRow } from '../rows.ts'

/** 16 bytes each. */
export interface TicketKey {
  readonly name: Buffer
  readonly hmacKey: Buffer
  readonly aesKey: Buffer
}

const PART_BYTES = 16
const PARTS = 3

export function createTicketKeyRow(
  sealer: Pick<Sealer, 'seal'>,
  times: Pick<TicketKeyRow, 'sealsFrom' | 'knownUntil'>,
): TicketKeyRow {
  const id = randomBytes(PART_BYTES).toString('base64url')
  return { id, sealedKey: sealer.seal(randomBytes(PART_BYTES * PARTS), boundTo(id)), ...times }
}

/** @throws SealError; RangeError when it is none */
export function openTicketKey({ id, sealedKey }: TicketKeyRow, sealer: Pick<Sealer, 'open'>): TicketKey {
  const bytes = sealer.open(sealedKey, boundTo(id))
  if (bytes.length !== PART_BYTES * PARTS) throw new RangeError(`a ticket's key has ${bytes.length} bytes`)
  const part = (index: number) => bytes.subarray(index * PART_BYTES, (index + 1) * PART_BYTES)
  return { name: part(0), hmacKey: part(1), aesKey: part(2) }
}

function boundTo(id: string): string {
  return `ticket-key/${id}`
}
