/** How long a fault lasts: a few seconds in `npm test`, LANDFALL_FAULT_SECONDS when it is set. */

import type { Test } from 'tap'

/** For what comes before and after the faults of a file: starts, recovery, comparisons. */
const AROUND_MS = 100_000

/** Milliseconds; gives the test file the time that `faults` of them take. */
export function faultTimeFor(t: Test, { seconds, faults = 1 }: { seconds: number; faults?: number }): number {
  const text = process.env.LANDFALL_FAULT_SECONDS ?? ''
  if (!/^(\d{1,4}(\.\d{1,3})?)?$/.test(text)) {
    throw new Error(`LANDFALL_FAULT_SECONDS must be a number (got "${text}")`)
  }
  const faultMs = 1_000 * (text === '' ? seconds : Number(text))
  t.setTimeout(faults * faultMs + AROUND_MS)
  return faultMs
}
