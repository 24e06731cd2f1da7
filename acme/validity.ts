/** When a certificate may be shown. */

import { HOUR_MS } from '../lib/durations.ts'

/** An issuer's clock may be before ours; what is young by so much is good for clients whose clocks are right. */
export const SKEW_MS = HOUR_MS

/** Unix milliseconds. */
export interface Validity {
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

export function isCurrent({ notBeforeMs, notAfterMs }: Validity, nowMs: number): boolean {
  return notBeforeMs <= nowMs + SKEW_MS && nowMs < notAfterMs
}
