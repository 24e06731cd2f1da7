/** What is left of the account's budget at the first CA, for metrics: read again every minute. */

import type { Log } from '../../lib/log.ts'
import type { BudgetBook } from '../books.ts'
import { type OrderLimits, toAccountBudget } from './order-budgets.ts'

export interface BudgetReading extends AsyncDisposable {
  /** By limit; empty until the store answered once. */
  left(): ReadonlyMap<string, number>
}

export interface BudgetReadingSettings {
  /** The first CA's. */
  readonly directory: string
  readonly limits: OrderLimits
  /** A minute unless given. */
  readonly everyMs?: number
}

const EVERY_MS = 60_000

export function startBudgetReading(
  { budgets, log }: { readonly budgets: Pick<BudgetBook, 'read'>; readonly log: Log },
  { directory, limits, everyMs = EVERY_MS }: BudgetReadingSettings,
): BudgetReading {
  let left: ReadonlyMap<string, number> = new Map()
  const read = async () => {
    const states = await budgets.read([toAccountBudget(directory, limits)])
    left = new Map(states.map((state) => [state.budget.limit, state.left]))
  }
  const tryRead = () =>
    read().catch((error: unknown) => log.debug({ err: error }, 'the account budget could not be read'))
  let reading = tryRead()
  const timer = setInterval(() => {
    reading = tryRead()
  }, everyMs)
  timer.unref()
  return {
    left: () => left,
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await reading
    },
  }
}
