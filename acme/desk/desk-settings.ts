/** What the desk is asked and what it answers; routing/api/certificate-desk.ts says the same for the API. */

import type { Sealer } from '../../lib/seal.ts'
import type { Books, CertificateTable } from '../books.ts'
import type { Ca } from '../ca/ca.ts'
import type { CheckStep, Checks } from '../checks/checks.ts'
import type { OrderLimits } from '../orders/order-budgets.ts'
import type { Orders } from '../orders/orders.ts'
import type { ChallengeType, KeyType } from '../rows.ts'

export interface DeskDeps {
  readonly table: CertificateTable
  readonly books: Pick<Books, 'certificates' | 'orders' | 'budgets' | 'accounts'>
  readonly checks: Checks
  /** In the order in which they are tried. */
  readonly cas: readonly Ca[]
  readonly orders: Pick<Orders, 'want'>
  readonly sealer: Pick<Sealer, 'seal'>
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
  /** False where there is no CA to ask. */
  readonly isManaged: boolean
  /** Unix milliseconds. */
  readonly now?: () => number
  /** For DNS and CAs together. 15 s unless given. */
  readonly checkMs?: number
}

/** Moments in ISO 8601. */
export interface CertificateView {
  readonly keyType: string
  readonly names: readonly string[]
  readonly source: string
  readonly issuer: string
  readonly notBefore: string
  readonly notAfter: string
  /** SHA-256, in hexadecimal with colons. */
  readonly fingerprint: string
  /** The CA's directory. */
  readonly ca?: string
  readonly renewAt?: string
}

export interface CertificateCheck {
  readonly hostname: string
  readonly state: 'served' | 'pending' | 'waiting' | 'none'
  readonly steps: readonly CheckStep[]
  readonly certificates: readonly CertificateView[]
  readonly lastError?: { readonly code: string; readonly detail: string; readonly at: string }
  readonly nextTryAt?: string
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
