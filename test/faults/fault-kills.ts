/** How often a test kills something, and when: once in `npm test`, ten in the long form, LANDFALL_FAULT_KILLS when it is set. */

import { randomInt } from 'node:crypto'
import { setTimeout as pace } from 'node:timers/promises'
import type { Test } from 'tap'

const SHORT = 1
const LONG = 10
/** For what comes before and after: an image, a fleet, guests that boot beside other tests. */
const AROUND_MS = 120_000

/** `eachSeconds`: the longest that a kill and its recovery may take. Gives the test file the time for all of them. */
export function faultKillsFor(
  t: Test,
  { kinds = 1, eachSeconds }: { kinds?: number; eachSeconds: number },
): number {
  const text = process.env.LANDFALL_FAULT_KILLS ?? ''
  if (!/^\d{0,3}$/.test(text)) throw new Error(`LANDFALL_FAULT_KILLS must be a number (got "${text}")`)
  const long = (process.env.LANDFALL_FAULT_SECONDS ?? '') === '' ? SHORT : LONG
  const kills = text === '' ? long : Number(text)
  t.setTimeout(AROUND_MS + kinds * kills * eachSeconds * 1_000)
  return kills
}

/** Some moment within the next `maxMs`; says which one it was. */
export async function randomMoment(t: Test, maxMs: number, what: string): Promise<void> {
  const ms = randomInt(maxMs + 1)
  await pace(ms)
  t.comment(`${what} after ${ms} ms`)
}
