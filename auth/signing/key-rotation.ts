/** Which key signs, which are known, and when the next one is due: decided from the records alone, so that all edges agree. */

import { findCurrent, findNextTurn, toTurns } from '../../lib/key-rotation.ts'
import { toMoment } from '../../lib/moment.ts'
import type { SigningKeyRow } from '../access.ts'

export interface RotationTimes {
  /** For how long a key signs. */
  readonly keyMs: number
  /** Nothing that is signed lives longer. */
  readonly tokenMs: number
}

/** A key to be added; moments are in ISO 8601. */
export interface KeyPlan {
  readonly signsFrom: string
  /** What becomes of the key that it comes after; absent when there is none that still signs. */
  readonly end?: KeyEnd
}

export interface KeyEnd {
  readonly id: string
  readonly signsUntil: string
  readonly knownUntil: string
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** How long anybody may keep a copy of the published keys; seconds. */
export const JWKS_MAX_AGE_S = 600
/** A key is published for at least this long before it signs: six times as long as a copy may be kept. */
const MIN_OVERLAP_MS = HOUR_MS
const MAX_OVERLAP_MS = DAY_MS

/** For how long a key is published before it signs: a day, or a quarter of a key's time, or an hour. */
function overlapOf({ keyMs }: RotationTimes): number {
  return Math.max(MIN_OVERLAP_MS, Math.min(MAX_OVERLAP_MS, keyMs / 4))
}

/** The one key that signs at `nowMs`; edges that see the same records choose the same one. */
export function findSigningRow(rows: readonly SigningKeyRow[], nowMs: number): SigningKeyRow | undefined {
  const usable = rows.filter(({ signsUntil }) => signsUntil === undefined || nowMs < Date.parse(signsUntil))
  return findCurrent(usable, fromOf, nowMs)
}

/** Whether what it signed still counts. */
export function isKnown({ knownUntil }: SigningKeyRow, nowMs: number): boolean {
  return knownUntil === undefined || nowMs < Date.parse(knownUntil)
}

/** Undefined while nothing is due. */
export function planKey(
  rows: readonly SigningKeyRow[],
  nowMs: number,
  times: RotationTimes,
): KeyPlan | undefined {
  const endless = rows.filter(({ signsUntil }) => signsUntil === undefined)
  const last = toTurns(endless, fromOf).at(-1)
  // The first start; or the newest key was deleted because it is no secret any more.
  if (last === undefined) return { signsFrom: findSigningRow(rows, nowMs)?.signsUntil ?? toMoment(nowMs) }
  const schedule = { keyMs: times.keyMs, aheadMs: overlapOf(times) }
  const turnMs = findNextTurn(Date.parse(last.signsFrom), schedule, nowMs)
  if (turnMs === undefined) return undefined
  return { signsFrom: toMoment(turnMs), end: toEnd(last, turnMs, times) }
}

function toEnd({ id }: SigningKeyRow, turnMs: number, times: RotationTimes): KeyEnd {
  // An edge that is cut off from the table goes on signing with the old key for a while.
  const knownUntil = toMoment(turnMs + overlapOf(times) + times.tokenMs)
  return { id, signsUntil: toMoment(turnMs), knownUntil }
}

function fromOf({ signsFrom }: SigningKeyRow): string {
  return signsFrom
}
