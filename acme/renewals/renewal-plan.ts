/** When one certificate is replaced, and when its CA is asked again, as its renewal row keeps it. */

import { HOUR_MS } from '../../lib/durations.ts'
import { toMoment } from '../../lib/moment.ts'
import type { KnownCertificate } from '../books.ts'
import type { RenewalInfo } from '../ca/ca.ts'
import { toFallbackMoment, toRenewalOf } from '../orders/renewal-moment.ts'
import type { CertificateRow, RenewalRow } from '../rows.ts'

/** RFC 9773 section 4.3.2: at least twice a day where the CA does not say. */
export const ASK_MS = 12 * HOUR_MS
/** Of a wait, to either side; many certificates came in the same hour. */
const JITTER = 0.1
/** A tenth of the life stays, whatever the CA says, for what may fail. */
const SPARE = 1 / 10
/** As `RenewalRow.reason` has it. */
const REVOKED = 'revoked'

interface Chance {
  readonly nowMs: number
  /** From 0 to below 1. */
  readonly random: () => number
}

type Known = Pick<KnownCertificate, 'renewal'>

/** After an answer of the CA: a moment in its window, kept while the window stays (RFC 9773 section 4.2). */
export function planByWindow(
  row: CertificateRow,
  known: Known,
  { info, nowMs, random }: Chance & { readonly info: RenewalInfo },
): RenewalRow {
  const { startMs, endMs, explanationUrl, retryAfterMs } = info
  const old = known.renewal
  const isSame = old?.windowStartMs === startMs && old.windowEndMs === endMs
  const chosenMs = isSame ? old.renewAtMs : startMs + random() * (endMs - startMs)
  const isHurried = endMs < toFallbackMoment(row, 0)
  const reason = isRevoked(known) ? REVOKED : isHurried ? 'window' : undefined
  return {
    ...createBase(row),
    renewAt: toMoment(Math.min(chosenMs, toLatestMs(row), hurriedMs(known))),
    askAt: toMoment(nowMs + retryAfterMs),
    windowStart: toMoment(startMs),
    windowEnd: toMoment(endMs),
    ...(explanationUrl !== undefined && { explanationUrl }),
    ...(reason !== undefined && { reason }),
  }
}

/** Where the CA says nothing, or cannot be asked: what is known stays, else the fallback. */
export function planWithoutWindow(
  row: CertificateRow,
  known: Known,
  { askInMs = ASK_MS, nowMs, random }: Chance & { readonly askInMs?: number },
): RenewalRow {
  const old = known.renewal
  const wait = askInMs * (1 + (2 * random() - 1) * JITTER)
  return {
    ...createBase(row),
    renewAt: toMoment(old?.renewAtMs ?? toFallbackMoment(row, random())),
    askAt: toMoment(nowMs + wait),
    ...(old?.windowStartMs !== undefined && { windowStart: toMoment(old.windowStartMs) }),
    ...(old?.windowEndMs !== undefined && { windowEnd: toMoment(old.windowEndMs) }),
    ...(old?.reason !== undefined && { reason: old.reason }),
  }
}

/** What its CA has revoked is replaced at once. */
export function planRevoked(row: CertificateRow, known: Known, nowMs: number): RenewalRow {
  const renewAt = toMoment(Math.min(known.renewal?.renewAtMs ?? nowMs, nowMs))
  return { ...planWithoutWindow(row, known, { nowMs, random: () => 0.5 }), renewAt, reason: REVOKED }
}

function createBase(row: CertificateRow): Pick<RenewalRow, 'name' | 'keyType' | 'of'> {
  return { name: row.name, keyType: row.keyType, of: toRenewalOf(row) }
}

function toLatestMs({ notBefore, notAfter }: CertificateRow): number {
  const endMs = Date.parse(notAfter)
  return endMs - SPARE * (endMs - Date.parse(notBefore))
}

/** A certificate that was revoked stays so, whatever a window says. */
export function isRevoked({ renewal }: Known): boolean {
  return renewal?.reason === REVOKED
}

function hurriedMs(known: Known): number {
  return isRevoked(known) ? (known.renewal?.renewAtMs ?? 0) : Number.POSITIVE_INFINITY
}
