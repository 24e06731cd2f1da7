/** What orders are carried out with: the parts they use, and the numbers they keep to. */

import { DAY_MS, MINUTE_MS } from '../../lib/durations.ts'
import type { Log } from '../../lib/log.ts'
import type { Sealer } from '../../lib/seal.ts'
import type { Books, CertificateTable } from '../books.ts'
import type { Ca } from '../ca/ca.ts'
import type { Checks } from '../checks/checks.ts'
import type { DnsUpdater } from '../dns/updater.ts'
import type { ChallengeType } from '../rows.ts'
import type { OrderLimits } from './order-budgets.ts'

export interface OrdersDeps {
  readonly table: CertificateTable
  readonly books: Books
  /** Tried in this order. */
  readonly cas: readonly Ca[]
  readonly checks: Checks
  readonly updater?: DnsUpdater | undefined
  readonly sealer: Sealer
  /** Whether the host name still leads somewhere; orders of other names are dropped. The platform's own is not asked for. */
  readonly isWanted: (name: string) => boolean
  readonly log: Log
}

export interface OrdersSettings {
  /** The platform domain: its names are proven by dns-01 alone. */
  readonly domain: string
  /** For custom names, the best first; wildcards are always proven by dns-01. */
  readonly challengeTypes: readonly ChallengeType[]
  /** The first that a CA offers is asked for. */
  readonly profiles: readonly string[]
  readonly limits: OrderLimits
  /** Unix milliseconds. */
  readonly now?: () => number
  /** From 0 to below 1. */
  readonly random?: () => number
  /** The wait after each failure in a row; the last one for all further ones. Default 1 min, 10 min, 100 min, 1 day. */
  readonly backOffMs?: readonly number[]
  /** Between two looks at what goes on by itself (edges, validation, issuance). Default 1 s. */
  readonly pollMs?: number
  /** How long all edges may take to have an answer. Default 20 s. */
  readonly confirmMs?: number
  /** How long a CA may take to validate or to issue. Default 5 min. */
  readonly answerMs?: number
  /** Between two looks at the table for what fell due by time. Default 5 s. */
  readonly sweepMs?: number
  /** Orders that this edge carries out at the same time. Default 10. */
  readonly atOnce?: number
}

export type FullOrdersSettings = Required<OrdersSettings>

export const DEFAULT_BACK_OFF_MS = [MINUTE_MS, 10 * MINUTE_MS, 100 * MINUTE_MS, DAY_MS]

export function withDefaults(settings: OrdersSettings): FullOrdersSettings {
  return {
    now: Date.now,
    random: Math.random,
    backOffMs: DEFAULT_BACK_OFF_MS,
    pollMs: 1_000,
    confirmMs: 20_000,
    answerMs: 5 * MINUTE_MS,
    sweepMs: 5_000,
    atOnce: 10,
    ...settings,
  }
}
