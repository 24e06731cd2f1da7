/** How long a look-up takes, with names that are new strings each time, as requests bring them. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { BenchError } from '../frame/benchmark.ts'
import { median } from '../frame/samples.ts'
import { generationOf, hostnameOf } from './rows.ts'

/** What a table gives for a name; 0 stands for nothing. */
export type ReadGeneration = (hostname: string) => number

export interface LookupSettings {
  readonly routes: number
  readonly rounds: number
}

/** As many names as are asked for again and again. */
const NAMES = 50_000
const BATCH = 1_000
/** In a round, and before the first one: Node compiles what it has run often. */
const PASSES = 10
/** Prime, so that neighbours in time are no neighbours in memory. */
const STRIDE = 7_919

/**
 * Nanoseconds a look-up: the median over batches of 1,000 names, after each name was looked up once.
 * @throws BenchError when an answer is not `answerOf(index)`
 */
export async function measureLookups(
  read: ReadGeneration,
  { routes, rounds }: LookupSettings,
  answerOf: (index: number) => number = generationOf,
): Promise<number> {
  const count = Math.min(NAMES, routes)
  const indexes = Array.from({ length: count }, (_, place) => (place * STRIDE) % routes)
  for (const index of indexes) {
    if (read(hostnameOf(index)) !== answerOf(index))
      throw new BenchError(`wrong answer for ${hostnameOf(index)}`)
  }
  const batches = Array.from({ length: Math.floor(count / BATCH) || 1 }, (_, batch) =>
    indexes.slice(batch * BATCH, (batch + 1) * BATCH),
  )
  const times: number[] = []
  for (let pass = 0; pass < (rounds + 1) * PASSES; pass += 1) {
    const some = batches.map((batch) => timeBatch(read, batch, answerOf))
    if (pass >= PASSES) times.push(...some)
    // An edge that reads its feed meanwhile must not think that its store is dead.
    await nextTurn()
  }
  return median(times)
}

function timeBatch(
  read: ReadGeneration,
  indexes: readonly number[],
  answerOf: (index: number) => number,
): number {
  const bytes = indexes.map((index) => Buffer.from(hostnameOf(index)))
  const names = bytes.map((name) => name.toString('latin1'))
  const expected = indexes.reduce((sum, index) => sum + answerOf(index), 0)
  let sum = 0
  const startedAt = process.hrtime.bigint()
  for (const name of names) sum += read(name)
  const elapsed = Number(process.hrtime.bigint() - startedAt)
  if (sum !== expected) throw new BenchError('wrong answers')
  return elapsed / names.length
}
