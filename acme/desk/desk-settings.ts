/** What the desk works with, and by what right it writes. */

import type { Sealer } from '../../lib/seal.ts'
import type { Basis, Books, CertificateTable } from '../books.ts'
import type { Ca } from '../ca/ca.ts'
import type { Checks } from '../checks/checks.ts'
import type { OrderLimits } from '../orders/order-budgets.ts'
import type { Orders } from '../orders/orders.ts'
import type { ChallengeType, KeyType } from '../rows.ts'

export interface DeskDeps {
  readonly table: CertificateTable
  readonly books: Pick<Books, 'certificates' | 'orders' | 'budgets' | 'accounts'>
  readonly checks: Checks
  /** In the order in which they are tried. */
  readonly cas: readonly Ca[]
  /** Absent where there is no CA to ask. */
  readonly orders?: Pick<Orders, 'want'> | undefined
  readonly sealer: Sealer
  /** Whether a host name has a route here: one look-up in memory. */
  readonly isServed: (hostname: string) => boolean
}

export interface DeskSettings {
  /** The platform domain. */
  readonly domain: string
  /** Of orders. */
  readonly keyTypes: readonly KeyType[]
  readonly limits: OrderLimits
  /** For custom names, the best first. */
  readonly challengeTypes: readonly ChallengeType[]
  /** Unix milliseconds. */
  readonly now?: () => number
  /** For DNS and CAs together. 15 s unless given. */
  readonly checkMs?: number
}

/** A change that is about to be written; without secrets. */
export interface CertificateChange {
  /** `certificate/<name>/<keyType>` or `order/<name>/<keyType>`. */
  readonly key: string
  readonly before?: object
  readonly after?: object
}

/** Called when all checks have passed and nothing has been written yet; where it rejects nothing is. */
export type ChangeNote = (change: CertificateChange) => Promise<void>

/** By what somebody may write. */
export interface WriteRight {
  readonly note: ChangeNote
  /** The document that says whose the name is; absent where nothing does. */
  readonly basis?: Basis
}
