/** Which key seals tickets, which are known, and when the next one is due: decided from the rows alone, so that all edges agree. */

import { DAY_MS, HOUR_MS } from '../../lib/durations.ts'
import { findCurrent, findNextTurn, toTurns } from '../../lib/key-rotation.ts'
import { toMoment } from '../../lib/moment.ts'
import type { TicketKeyRow } from '../rows.ts'

export interface RotationSettings {
  /** For how long a key seals. */
  readonly sealMs: number
  /** Unix milliseconds. */
  readonly now: () => number
}

export type TicketKeyPlan = Pick<TicketKeyRow, 'sealsFrom' | 'knownUntil'>

/** A ticket is good for a day after the last moment in which its key seals. */
export const TICKET_MS = DAY_MS

/** For how long a key is known everywhere before it seals: an hour, or a quarter of a key's time. */
function aheadOf(sealMs: number): number {
  return Math.min(HOUR_MS, sealMs / 4)
}

/** The newest one that has begun; edges that see the same rows choose the same one. */
export function findSealing<Row extends TicketKeyRow>(rows: readonly Row[], nowMs: number): Row | undefined {
  return findCurrent(toKnown(rows, nowMs), fromOf, nowMs)
}

/** Whether it opens tickets. */
export function isKnown({ knownUntil }: TicketKeyRow, nowMs: number): boolean {
  return nowMs < Date.parse(knownUntil)
}

/** The key that has to be added; undefined while none is due. */
export function planTicketKey(
  rows: readonly TicketKeyRow[],
  { sealMs, now }: RotationSettings,
): TicketKeyPlan | undefined {
  const nowMs = now()
  const last = toTurns(toKnown(rows, nowMs), fromOf).at(-1)
  if (last === undefined) return planFrom(nowMs, sealMs)
  const schedule = { keyMs: sealMs, aheadMs: aheadOf(sealMs) }
  const turnMs = findNextTurn(Date.parse(last.sealsFrom), schedule, nowMs)
  return turnMs === undefined ? undefined : planFrom(turnMs, sealMs)
}

function toKnown<Row extends TicketKeyRow>(rows: readonly Row[], nowMs: number): readonly Row[] {
  return rows.filter((row) => isKnown(row, nowMs))
}

/** It seals a little longer than planned where the next one is late. */
function planFrom(sealsFromMs: number, sealMs: number): TicketKeyPlan {
  const knownUntilMs = sealsFromMs + sealMs + aheadOf(sealMs) + TICKET_MS
  return {
    sealsFrom: toMoment(sealsFromMs),
    knownUntil: toMoment(knownUntilMs),
  }
}

function fromOf({ sealsFrom }: TicketKeyRow): string {
  return sealsFrom
}
