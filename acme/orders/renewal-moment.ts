/** When a certificate is to be replaced where its CA does not say. */

import { DAY_MS } from '../../lib/durations.ts'
import { toMoment } from '../../lib/moment.ts'
import type { CertificateRow, RenewalRow } from '../rows.ts'

const SHORT_LIFE_MS = 10 * DAY_MS
/** Of the life, to either side, so that what was issued together is not renewed together. */
const JITTER = 1 / 30

type Life = Pick<CertificateRow, 'notBefore' | 'notAfter'>

/** What a renewal row says it is of, so that it does not count for the certificate's successor. */
export function toRenewalOf(certificate: Pick<CertificateRow, 'notAfter' | 'createdAt'>): string {
  return `${certificate.notAfter} ${certificate.createdAt}`
}

/** Whether a text of `toRenewalOf` is of this certificate; moments may be written in several ways. */
export function isRenewalOf(
  of: string,
  { notAfter, createdAt }: Pick<CertificateRow, 'notAfter' | 'createdAt'>,
): boolean {
  const [end = '', start = ''] = of.split(' ')
  return Date.parse(end) === Date.parse(notAfter) && Date.parse(start) === Date.parse(createdAt)
}

/**
 * Unix milliseconds: a third of the life before the end, half of it when it lives for less than 10 days.
 * `random` is from 0 to below 1.
 */
export function toFallbackMoment({ notBefore, notAfter }: Life, random: number): number {
  const end = Date.parse(notAfter)
  const life = end - Date.parse(notBefore)
  const left = life < SHORT_LIFE_MS ? life / 2 : life / 3
  return Math.round(end - left + (2 * random - 1) * JITTER * life)
}

/** The renewal of a certificate that has just come: its CA is asked at once. */
export function createRenewal(
  certificate: CertificateRow,
  { nowMs, random }: { readonly nowMs: number; readonly random: number },
): RenewalRow {
  return {
    name: certificate.name,
    keyType: certificate.keyType,
    of: toRenewalOf(certificate),
    renewAt: toMoment(toFallbackMoment(certificate, random)),
    askAt: toMoment(nowMs),
  }
}
