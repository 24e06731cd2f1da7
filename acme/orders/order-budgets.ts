/** The budgets that orders take from: a CA's limits as they are counted here, a little below its own. */

import { digestOf } from '../../lib/digest.ts'
import { DAY_MS, HOUR_MS } from '../../lib/durations.ts'
import type { Budget } from '../books.ts'
import { toBareName, toRegisteredDomain } from '../hostnames.ts'

/** How many at once; each is refilled evenly over its window. */
export interface OrderLimits {
  /** New certificates for a registered domain in 7 days. */
  readonly domain: number
  /** Certificates for exactly the same names in 7 days. */
  readonly set: number
  /** Orders of the account in 3 hours. */
  readonly account: number
  /** Names that could not be proven, each in an hour. */
  readonly failures: number
}

const WEEK_MS = 7 * DAY_MS
export const ACCOUNT_WINDOW_MS = 3 * HOUR_MS
const CA_CHARACTERS = 12

/** Of the account's budget, for new names: what must be renewed, and the platform, have the rest for themselves. */
const SHARE_OF_NEW = 2 / 3

/** What a new order takes from; each CA counts for itself, so each has budgets of its own. */
export function toOrderBudgets(
  names: readonly string[],
  directory: string,
  limits: OrderLimits,
): readonly Budget[] {
  const ca = toSubject(directory)
  const set = digestOf([...names].sort().join(','))
  return [
    toAccountBudget(directory, limits),
    { limit: 'set', subject: `${ca}.${set}`, capacity: limits.set, windowMs: WEEK_MS },
    ...toRegisteredDomains(names).map((domain) => ({
      limit: 'domain',
      subject: `${ca}.${domain}`,
      capacity: limits.domain,
      windowMs: WEEK_MS,
    })),
  ]
}

/** Besides, for what tenants ask for: no number of new names of theirs keeps others' certificates from being renewed. */
export function toNewcomerBudget(directory: string, limits: OrderLimits): Budget {
  const capacity = Math.max(1, Math.floor(limits.account * SHARE_OF_NEW))
  return { ...toAccountBudget(directory, limits), limit: 'account-new', capacity }
}

export function toAccountBudget(directory: string, limits: OrderLimits): Budget {
  return {
    limit: 'account',
    subject: toSubject(directory),
    capacity: limits.account,
    windowMs: ACCOUNT_WINDOW_MS,
  }
}

/** Taken from when a CA could not prove the name; empty: it is not asked. `*.` in front counts as the name itself. */
export function toFailureBudgets(
  names: readonly string[],
  directory: string,
  limits: OrderLimits,
): readonly Budget[] {
  const proven = new Set(names.map(toBareName))
  return [...proven].map((name) => ({
    limit: 'failures',
    subject: `${toSubject(directory)}.${name}`,
    capacity: limits.failures,
    windowMs: HOUR_MS,
  }))
}

function toRegisteredDomains(names: readonly string[]): readonly string[] {
  return [...new Set(names.map(toRegisteredDomain))]
}

function toSubject(directory: string): string {
  return digestOf(directory).slice(0, CA_CHARACTERS)
}
