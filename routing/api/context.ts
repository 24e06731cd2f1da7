/** What every resource of the admin API is given. */

import type { Buckets } from '../../lib/buckets.ts'
import type { Log } from '../../lib/log.ts'
import type { Sealer } from '../../lib/seal.ts'
import type { Store } from '../store/store.ts'
import type { CertificateDesk } from './certificate-desk.ts'
import type { ProofDns } from './domain-proof.ts'
import type { Places } from './places.ts'
import type { TokenLookup } from './token-lookup.ts'

export interface ApiDeps {
  readonly store: Store
  readonly log: Log
  readonly table: TableView
  /** Answers for `domain/` proofs; node:dns/promises fits. @throws errors with Node's DNS codes */
  readonly dns: ProofDns
  readonly certificates: CertificateDesk
  /** Seals what the store must not show in clear. */
  readonly sealer: Sealer
  /** The system's clock unless given. */
  readonly now?: () => Date
  /** The Idempotency-Keys that each caller may still use; 10,000 a day unless given. */
  readonly keyBudget?: Buckets
  /** Signs the tokens and share links of VMs. */
  readonly signer: Signer
  /**
   * Whose token it is: a JWT for this API that a user signed with a registered key. Undefined for what is no such JWT.
   * `address` is the client's. Rejects with a LandfallError for one that does not count, or is narrowed to ports,
   * methods, a path or a proof: here are no such bounds.
   */
  readonly findUser: (token: string, address: string | undefined) => Promise<SelfSigned | undefined>
  /** The pools that belong to a user, as far as the edge has heard; each is looked up again in the store. */
  readonly poolsOf: (user: string) => readonly string[]
}

/** @throws LandfallError while no key can sign */
export interface Signer {
  sign(demand: {
    readonly kind: 'token' | 'link'
    /** `aud`: one host name. */
    readonly audience: string
    /** `sub`. */
    readonly subject: string
    /** `jti`. */
    readonly id: string
    /** Unix seconds. */
    readonly expiresAt: number
    readonly claims: Readonly<Record<string, unknown>>
  }): Promise<string>
}

export interface SelfSigned {
  readonly user: string
  /** ISO 8601. */
  readonly expiresAt?: string
}

/** The edge's own table, as far as the API speaks of it. */
export interface TableView {
  readonly revision: number
  status(): object
}

export interface ApiSettings {
  /** The platform domain: VMs are `<vm>.<domain>`. */
  readonly domain: string
  /** The bootstrap token of this edge. */
  readonly token: string
  /** True where several edges share the store: the bootstrap token then only makes the first real one. */
  readonly isFleet: boolean
  /** Requests a second that one token may make for long; ten times as many at once. */
  readonly ratePerSecond: number
  /** The public HTTPS address of a host name, with the port where it is not 443. */
  readonly urlOf: (hostname: string) => string
  /** How far ahead a VM's token may end. */
  readonly tokenDays: number
  /** The longest that a login, a cookie or a token may last; 401 unless given. */
  readonly longestDays?: number
}

export interface ApiContext extends ApiDeps, ApiSettings {
  readonly now: () => Date
  readonly tokens: TokenLookup
  readonly keyBudget: Buckets
  /** Of requests with "wait". */
  readonly waits: Places
}
