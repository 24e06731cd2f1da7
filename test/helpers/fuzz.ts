/** Time budget and seed of property tests: LANDFALL_FUZZ_SECONDS for a file, LANDFALL_FUZZ_SEED to repeat a run. */

import { randomInt } from 'node:crypto'
import type { Parameters } from 'fast-check'
import type { Test } from 'tap'

export interface FuzzBudget {
  /** Seconds for the whole file, unless the environment says otherwise. */
  readonly seconds: number
}

export interface Fuzz {
  /** Options for `check`/`assert` of a property that may take this part of the budget. */
  options<Values>(part: number): Parameters<Values>
}

/** Prints the seed, and gives the test file the time that it needs. */
export function fuzzFor(t: Test, { seconds }: FuzzBudget): Fuzz {
  const budget = numberOf('LANDFALL_FUZZ_SECONDS') ?? seconds
  const seed = numberOf('LANDFALL_FUZZ_SEED') ?? randomInt(2 ** 31)
  t.comment(`LANDFALL_FUZZ_SEED=${seed} repeats this run of ${budget} s`)
  t.setTimeout(budget * 2_000 + 60_000)
  return {
    options: (part) => ({
      seed,
      numRuns: Number.MAX_SAFE_INTEGER,
      interruptAfterTimeLimit: Math.round(budget * part * 1_000),
      // Running out of time is how a run without a finding ends.
      markInterruptAsFailure: false,
    }),
  }
}

function numberOf(name: string): number | undefined {
  const text = process.env[name]
  if (text === undefined || text === '') return undefined
  if (!/^\d{1,12}(\.\d{1,3})?$/.test(text)) throw new Error(`${name} must be a number (got "${text}")`)
  return Number(text)
}
