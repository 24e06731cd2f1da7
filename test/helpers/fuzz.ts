/** Property tests with a budget and a seed: LANDFALL_FUZZ_SECONDS for a whole file, LANDFALL_FUZZ_SEED to repeat a run. */

import { randomInt } from 'node:crypto'
import { check, type IAsyncProperty } from 'fast-check'
import type { Test } from 'tap'

export interface FuzzBudget {
  /** Seconds for the whole file, unless the environment says otherwise. */
  readonly seconds: number
}

export interface Fuzz {
  /** Looks for a counterexample for `part` (0 to 1) of the budget; `t` passes when there is none. */
  holds<Values>(t: Test, property: IAsyncProperty<Values>, part: number): Promise<void>
}

/** Prints the seed, and gives the test file the time that it needs. */
export function fuzzFor(t: Test, { seconds }: FuzzBudget): Fuzz {
  const budget = numberOf('LANDFALL_FUZZ_SECONDS') ?? seconds
  const seed = numberOf('LANDFALL_FUZZ_SEED') ?? randomInt(2 ** 31)
  const repeat = `LANDFALL_FUZZ_SEED=${seed} repeats it`
  t.comment(`${repeat}; up to ${budget} s`)
  t.setTimeout(budget * 2_000 + 60_000)
  return {
    async holds(t, property, part) {
      const details = await check(property, {
        seed,
        numRuns: Number.MAX_SAFE_INTEGER,
        interruptAfterTimeLimit: Math.round(budget * part * 1_000),
        // Running out of time is how a run without a finding ends.
        markInterruptAsFailure: false,
      })
      const { failed, counterexample, errorInstance, numRuns } = details
      if (!failed) t.ok(numRuns > 0, `holds for ${numRuns} inputs`)
      else t.fail(`${messageOf(errorInstance)}\n  input: ${JSON.stringify(counterexample)}\n  ${repeat}`)
    },
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function numberOf(name: string): number | undefined {
  const text = process.env[name]
  if (text === undefined || text === '') return undefined
  if (!/^\d{1,12}(\.\d{1,3})?$/.test(text)) throw new Error(`${name} must be a number (got "${text}")`)
  return Number(text)
}
