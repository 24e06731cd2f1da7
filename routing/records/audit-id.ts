/** Ids of audit records: they sort by time, so that a listing can begin at a moment. */

import { randomBytes } from 'node:crypto'
import { AUDITS } from './record-kinds.ts'

/** Enough for Unix milliseconds in base 36 until the year 5188. */
const TIME_CHARACTERS = 9
const RANDOM_BYTES = 6

export function createAuditId(at: Date): string {
  return `${timeOf(at)}-${randomBytes(RANDOM_BYTES).toString('hex')}`
}

/** Sorts before the key of every audit record of that moment or later, and behind those of all earlier ones. */
export function toAuditPrefix(at: Date): string {
  return AUDITS.prefix + timeOf(at)
}

/** Nothing is older than the epoch. */
function timeOf(at: Date): string {
  return Math.max(0, at.getTime()).toString(36).padStart(TIME_CHARACTERS, '0')
}
