/** How steps ask what may fail for a moment, or is not ready yet. */

import { pause } from '../../lib/pause.ts'
import type { StepRun } from './order-step.ts'
import { findRestMs, isMissing, type OrderTrouble } from './order-trouble.ts'

const MAX_WAIT_MS = 30_000
const TRIES = 3

/** Asks up to three times where a moment may help, and not before the one that the CA names; rejects with CaProblem. */
async function askPatiently<T>(run: StepRun, ask: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask()
    } catch (error) {
      run.signal.throwIfAborted()
      const restMs = findRestMs(error)
      if (tries === TRIES || restMs === undefined || restMs > MAX_WAIT_MS) throw error
      await pause(Math.max(run.settings.pollMs * tries, restMs), run.signal)
    }
  }
}

/** Asks as `askPatiently` for something that the CA may have forgotten: undefined then. */
export async function askForKnown<T>(run: StepRun, ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await askPatiently(run, ask)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

export interface Patience<T> {
  /** In all; then `late` is thrown. */
  readonly timeLimitMs: number
  readonly isEnough: (last: T) => boolean
  /** How long the other side wants to be left alone. */
  readonly restMs?: (last: T) => number | undefined
  readonly late: (last: T) => OrderTrouble
}

/** Looks until it is enough, as seldom as the other side wants, 30 s apart at most. @throws OrderTrouble */
export async function lookUntil<T>(
  { settings, signal }: StepRun,
  look: () => Promise<T>,
  { timeLimitMs, isEnough, restMs, late }: Patience<T>,
): Promise<T> {
  const endMs = performance.now() + timeLimitMs
  for (;;) {
    signal.throwIfAborted()
    const last = await look()
    if (isEnough(last)) return last
    const waitMs = Math.min(Math.max(settings.pollMs, restMs?.(last) ?? 0), MAX_WAIT_MS)
    if (performance.now() + waitMs > endMs) throw late(last)
    await pause(waitMs, signal)
  }
}
