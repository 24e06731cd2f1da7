/** What a small CA is told to do, and what it keeps. */

export const URN = 'urn:ietf:params:acme:error:'

/** What a validation is told; an answer is a problem's detail, none is a success. */
export interface Attempt {
  readonly type: string
  /** Without `*.`. */
  readonly name: string
  readonly token: string
  readonly keyAuthorization: string
  /** What the TXT record has to say. */
  readonly dnsValue: string
}

export interface SmallCaOptions {
  /** Default: every attempt succeeds. */
  validate?: (attempt: Attempt) => Promise<string | undefined> | string | undefined
  /** Default `['http-01', 'tls-alpn-01', 'dns-01']`; a wildcard has dns-01 alone. */
  challenges?: readonly string[]
  /** Days that certificates live, by profile; `''` is for orders without one. None: no profiles are offered. */
  profiles?: Readonly<Record<string, number>>
  /** Default 90. */
  lifetimeDays?: number
  hasRenewalInfo?: boolean
  isMustStaple?: boolean
  reusesAuthorizations?: boolean
  /** None: orders go on at once. Else so many polls of an order or authorization find it still under way. */
  pollsUntilDone?: number
  /** Seconds, in answers that say `processing` or `pending`. */
  retryAfter?: number
  termsOfService?: string
  caaIdentities?: readonly string[]
  /** Key ids and HMAC keys in base64url. */
  externalAccounts?: Readonly<Record<string, string>>
  /** Between 0 and 1, of signed requests. */
  badNonceShare?: number
  /** Milliseconds since 1970. */
  now?: () => number
}

export interface SmallOrder {
  readonly id: string
  readonly account: string
  readonly names: readonly string[]
  readonly profile?: string
  readonly replaces?: string
  status: 'pending' | 'ready' | 'processing' | 'valid' | 'invalid'
  readonly authorizations: readonly SmallAuthorization[]
  polls: number
  certificate?: string
  error?: object
}

export interface SmallAuthorization {
  readonly id: string
  readonly account: string
  readonly name: string
  readonly isWildcard: boolean
  status: 'pending' | 'valid' | 'invalid'
  polls: number
  readonly challenges: readonly SmallChallenge[]
}

export interface SmallChallenge {
  readonly id: string
  readonly type: string
  readonly token: string
  status: 'pending' | 'processing' | 'valid' | 'invalid'
  error?: object
}

export interface SmallIssued {
  readonly id: string
  readonly certId: string
  /** Leaf and intermediate. */
  readonly chainPem: string
  readonly names: readonly string[]
  readonly profile?: string
  isRevoked: boolean
}

export interface Reply {
  readonly status: number
  readonly body?: object | string
  readonly headers?: Readonly<Record<string, string>>
}

export class SmallProblem extends Error {
  readonly status: number
  readonly type: string

  constructor(status: number, type: string, detail: string) {
    super(detail)
    this.status = status
    this.type = type
  }
}

export function toProblem({ status, type, message }: SmallProblem): Reply {
  const body = { type: `${URN}${type}`, detail: message, status }
  return { status, body, headers: { 'content-type': 'application/problem+json' } }
}
