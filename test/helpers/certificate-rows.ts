/** Rows of certificates for tests: sound ones, of which a test changes what it is about. */

import { createHash } from 'node:crypto'
import type {
  AccountRow,
  CertificateRow,
  ChallengeRow,
  OrderRow,
  RenewalRow,
  TicketKeyRow,
} from '../../acme/rows.ts'
import { SEALER } from './sealer.ts'

export const NOW = '2026-01-31T12:00:00.000Z'
export const FAR = '2099-01-31T12:00:00.000Z'
export const CA = 'https://ca.example/directory'

function sealedOf(text: string, boundTo = 'test') {
  return SEALER.seal(text, boundTo)
}

export function certificateOf(name: string, changes: Partial<CertificateRow> = {}): CertificateRow {
  const { keyType = 'ec' } = changes
  return {
    ...{ name, keyType, names: [name], source: 'acme' },
    chain: [derOf(`${name} leaf`), derOf('intermediate')],
    sealedKey: sealedOf(`key of ${name}`, `certificate/${name}/${keyType}`),
    ...{ notBefore: NOW, notAfter: FAR, createdAt: NOW, ca: CA },
    ...changes,
  }
}

export function renewalOf(
  { name, keyType, notAfter, createdAt }: CertificateRow,
  changes: Partial<RenewalRow> = {},
): RenewalRow {
  return {
    ...{ name, keyType, of: `${notAfter} ${createdAt}`, renewAt: FAR, askAt: NOW },
    ...changes,
  }
}

export function orderOf(name: string, changes: Partial<OrderRow> = {}): OrderRow {
  return {
    ...{ name, keyType: 'ec', names: [name], state: 'wanted', createdAt: NOW, cause: 'demand', failures: 0 },
    ...changes,
  }
}

export function challengeOf(id: string, changes: Partial<ChallengeRow> = {}): ChallengeRow {
  return {
    ...{ id, type: 'http-01', name: 'app.example', token: `token-${id}`, value: `token-${id}.print` },
    ...{ expiresAt: FAR },
    ...changes,
  }
}

export function accountOf(ca = CA, changes: Partial<AccountRow> = {}): AccountRow {
  return { ca, sealedKey: sealedOf('account'), createdAt: NOW, ...changes }
}

export function ticketKeyOf(id: string, changes: Partial<TicketKeyRow> = {}): TicketKeyRow {
  return { id, sealedKey: sealedOf(id, `ticket-key/${id}`), sealsFrom: NOW, knownUntil: FAR, ...changes }
}

/** Bytes that stand for a certificate. */
export function derOf(text: string, length = 600): string {
  return createHash('shake256', { outputLength: length }).update(text).digest('base64')
}
