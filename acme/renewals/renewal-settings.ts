/** What renewals are made with: the parts they use, and the numbers they keep to. */

import type { Log } from '../../lib/log.ts'
import type { Books, CertificateTable } from '../books.ts'
import type { Ca } from '../ca/ca.ts'
import type { Orders } from '../orders/orders.ts'
import type { KeyType } from '../rows.ts'

export interface RenewalsDeps {
  readonly table: CertificateTable
  readonly books: Pick<Books, 'certificates' | 'holds'>
  /** Absent where no CA is set: nothing is wanted, and nobody is asked; uploads are warned of all the same. */
  readonly orders?: Pick<Orders, 'want'> | undefined
  readonly cas: readonly Ca[]
  /** Whether the host name still leads somewhere; what does not is left to expire. The platform's own is not asked for. */
  readonly isWanted: (name: string) => boolean
  readonly log: Log
}

export interface RenewalsSettings {
  /** The platform domain, whose certificates are wanted whenever they are missing. */
  readonly domain: string
  /** Certificates of other key types are left to expire. */
  readonly keyTypes: readonly KeyType[]
  /** Unix milliseconds. */
  readonly now?: () => number
  /** From 0 to below 1. */
  readonly random?: () => number
  /** Between two looks at all certificates. Default 1 min. */
  readonly sweepMs?: number
  /** The same while more are due than may be under way. Default 5 s. */
  readonly backlogMs?: number
  /** Renewals of the fleet that are under way at the same time. Default 50. */
  readonly openAtOnce?: number
  /** Questions to a CA at the same time. Default 4. */
  readonly questionsAtOnce?: number
}

export type FullRenewalsSettings = Required<RenewalsSettings>

export function withDefaults(settings: RenewalsSettings): FullRenewalsSettings {
  return {
    now: Date.now,
    random: Math.random,
    sweepMs: 60_000,
    backlogMs: 5_000,
    openAtOnce: 50,
    questionsAtOnce: 4,
    ...settings,
  }
}
