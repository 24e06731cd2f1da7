/** What orders need of a certificate authority that speaks ACME (RFC 8555); `openCa` makes it out of acme-client. */

/** An ACME problem document (RFC 8555 section 6.7), or what stands in for one. */
export interface Problem {
  /** Without the URN's prefix: `rateLimited`, `unauthorized`; `unreachable`, `timeout`, `nonsense` where the CA did not say. */
  readonly type: string
  /** HTTP status; 0 where there was no answer. */
  readonly status: number
  readonly detail: string
  readonly subproblems: readonly {
    readonly type: string
    readonly detail: string
    readonly identifier?: string
  }[]
  /** From Retry-After, capped at a day. */
  readonly retryAfterMs?: number
}

export interface CaFacts {
  /** draft-aaron-acme-profiles; empty where the CA offers none. */
  readonly profiles: readonly string[]
  readonly hasRenewalInfo: boolean
  /** RFC 8555 section 9.7.6: what CAA records name. */
  readonly caaIdentities: readonly string[]
  readonly termsOfService?: string
  readonly needsExternalAccount: boolean
}

export interface CaOrder {
  readonly url: string
  readonly status: 'pending' | 'ready' | 'processing' | 'valid' | 'invalid'
  readonly authorizations: readonly string[]
  readonly finalize: string
  readonly certificate?: string
  readonly problem?: Problem
  /** How long the CA wants to be left alone, capped. */
  readonly retryAfterMs?: number
}

export interface CaAuthorization {
  readonly url: string
  readonly status: 'pending' | 'valid' | 'invalid' | 'deactivated' | 'expired' | 'revoked'
  /** Without `*.`. */
  readonly name: string
  readonly isWildcard: boolean
  readonly challenges: readonly CaChallenge[]
  readonly retryAfterMs?: number
}

export interface CaChallenge {
  readonly type: string
  readonly url: string
  readonly token: string
  readonly status: string
  readonly problem?: Problem
}

/** RFC 9773 section 4.2; Unix milliseconds. */
export interface RenewalInfo {
  readonly startMs: number
  readonly endMs: number
  readonly explanationUrl?: string
  /** When to ask again, between a minute and a day. */
  readonly retryAfterMs: number
}

/** Every method rejects with CaProblem, within its time limit or at once when `signal` aborts. */
export interface Ca {
  /** The directory's URL. */
  readonly directory: string
  /** Read anew when they are older than `maxAgeMs`; default an hour. */
  facts(signal: AbortSignal, freshness?: { readonly maxAgeMs: number }): Promise<CaFacts>
  /** The account's URL, made at the CA and in the table when there is none. */
  getAccount(signal: AbortSignal): Promise<string>
  /** RFC 7638, of the account's key: the second half of a key authorization. */
  getThumbprint(): Promise<string>
  createOrder(
    demand: { readonly names: readonly string[]; readonly profile?: string; readonly replaces?: string },
    signal: AbortSignal,
  ): Promise<CaOrder>
  getOrder(url: string, signal: AbortSignal): Promise<CaOrder>
  getAuthorization(url: string, signal: AbortSignal): Promise<CaAuthorization>
  /** Says that the challenge may be validated. */
  answerChallenge(url: string, signal: AbortSignal): Promise<void>
  /** `csr` is DER. */
  finalize(order: CaOrder, csr: Buffer, signal: AbortSignal): Promise<CaOrder>
  /** The chain in DER as it was sent, the leaf first. */
  download(order: CaOrder, signal: AbortSignal): Promise<readonly Buffer[]>
  /** Undefined where the CA has no ARI. */
  findRenewalInfo(certId: string, signal: AbortSignal): Promise<RenewalInfo | undefined>
}
