/** The rows that the life of a certificate is written in; routing/certificates keeps them in the store. */

/** The better one first. */
export const KEY_TYPES = ['ec', 'rsa'] as const

export type KeyType = (typeof KEY_TYPES)[number]

export const CHALLENGE_TYPES = ['http-01', 'tls-alpn-01', 'dns-01'] as const

export type ChallengeType = (typeof CHALLENGE_TYPES)[number]

/** One certificate as it is kept. Its secret is sealed for `certificate/<name>/<keyType>`. */
export interface CertificateRow {
  /** The platform domain, or one custom host name: what it is found and replaced by, together with `keyType`. */
  readonly name: string
  readonly keyType: KeyType
  /** Lower case, `*.` in front of a wildcard; at most 100. */
  readonly names: readonly string[]
  /** An uploaded one is never ordered anew. */
  readonly source: 'acme' | 'upload'
  /** DER in base64, the leaf first, without the root. */
  readonly chain: readonly string[]
  /** PKCS#8 in DER, sealed. */
  readonly sealedKey: unknown
  /** ISO 8601, as all moments in rows. */
  readonly notBefore: string
  readonly notAfter: string
  /** When it came here. */
  readonly createdAt: string
  /** The directory of the CA that issued it. */
  readonly ca?: string
  readonly profile?: string
}

/** When a certificate is to be replaced; kept apart, because it changes several times a day and the certificate does not. */
export interface RenewalRow {
  readonly name: string
  readonly keyType: KeyType
  /** Of which certificate this is said: its `notAfter`, a space and its `createdAt`, so that a newer one starts without. */
  readonly of: string
  readonly renewAt: string
  /** When the CA is asked again (RFC 9773 section 4.2). */
  readonly askAt: string
  readonly windowStart?: string
  readonly windowEnd?: string
  readonly explanationUrl?: string
  /** Why it is hurried: `revoked` or `window`. */
  readonly reason?: string
}

/**
 * `wanted` nothing was said to a CA → `ordered` the CA has the order → `published` the answers to its challenges are in the table →
 * `confirmed` every live edge has them → `answered` the CA was told → `ready` all names are proven → `keyed` key and
 * request are saved → `finalized` the CA was sent the request → the certificate is written and the order's row deleted.
 * `failed` waits for `nextTryAt`, then starts again as `wanted`.
 */
export const ORDER_STATES = [
  'wanted',
  'ordered',
  'published',
  'confirmed',
  'answered',
  'ready',
  'keyed',
  'finalized',
  'failed',
] as const

export type OrderState = (typeof ORDER_STATES)[number]

/** An order under way, or the memory of failures; at most one for a name and key type. */
export interface OrderRow {
  readonly name: string
  readonly keyType: KeyType
  readonly names: readonly string[]
  readonly state: OrderState
  readonly createdAt: string
  /** Why it was made. */
  readonly cause: 'platform' | 'demand' | 'renewal' | 'operator'
  /** Which certificate was known when it was wanted, as `RenewalRow.of`; absent: none. */
  readonly of?: string
  /** The directory of the CA that has the order. */
  readonly ca?: string
  /** Of the CAs for whose budgets this try was counted while none has an order yet. */
  readonly paidCas?: readonly string[]
  /** Directories that failed since the last success or pause. */
  readonly triedCas?: readonly string[]
  readonly url?: string
  readonly authorizations?: readonly RowAuthorization[]
  readonly profile?: string
  /** RFC 9773 section 5: the CertID that the CA was told this order replaces. */
  readonly replaces?: string
  /** PKCS#8 in DER, sealed for `order/<name>/<keyType>`. */
  readonly sealedKey?: unknown
  /** The signing request, DER in base64url. */
  readonly csr?: string
  /** Failures in a row. */
  readonly failures: number
  readonly lastError?: OrderFailure
  readonly nextTryAt?: string
}

export interface RowAuthorization {
  readonly url: string
  readonly name: string
  readonly isWildcard: boolean
  /** Absent when it was valid already. */
  readonly challenge?: {
    readonly type: ChallengeType
    readonly url: string
    /** Of the challenge's row. */
    readonly id: string
  }
}

export interface OrderFailure {
  /** A code of errors.ts. */
  readonly code: string
  /** At most 500 characters, safe to show to the name's owner. */
  readonly detail: string
  /** The CA's own word, as `rateLimited` (RFC 8555 section 6.7). */
  readonly problemType?: string
  readonly step: OrderState
  readonly at: string
}

/** The answer to one challenge, as every edge gives it. */
export interface ChallengeRow {
  /** 43 characters of base64url at most. */
  readonly id: string
  readonly type: ChallengeType
  /** For http-01 and tls-alpn-01 the host name; for dns-01 the label below the answering zone, or the full name for updates. */
  readonly name: string
  /** http-01 alone: the last part of the path. */
  readonly token?: string
  /** The key authorization (http-01, tls-alpn-01), or the TXT value (dns-01). */
  readonly value: string
  readonly expiresAt: string
}

/** One account for the whole fleet at each CA. */
export interface AccountRow {
  /** The CA's directory. */
  readonly ca: string
  /** PKCS#8 in PEM, sealed for `acme-account/<SHA-256 of ca in base64url>`. */
  readonly sealedKey: unknown
  /** Absent until the CA knows the account. */
  readonly url?: string
  readonly createdAt: string
}

/** 16 bytes each, of a session ticket's key (RFC 5077 section 4), sealed together for `ticket-key/<id>`: name, HMAC key, AES key. */
export interface TicketKeyRow {
  readonly id: string
  readonly sealedKey: unknown
  /** It seals new tickets from then on; every edge has it long before. */
  readonly sealsFrom: string
  /** It opens tickets until then, and is deleted. */
  readonly knownUntil: string
}

/** What there is one certificate and one order for at most. */
export function toSlot({ name, keyType }: Pick<CertificateRow, 'name' | 'keyType'>): string {
  return `${name}/${keyType}`
}

/** Where a key is kept, and so what it is sealed for: elsewhere it cannot be opened. */
export function toRecordKey(
  kind: 'certificate' | 'order',
  row: Pick<CertificateRow, 'name' | 'keyType'>,
): string {
  return `${kind}/${toSlot(row)}`
}
