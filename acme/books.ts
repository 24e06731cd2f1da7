/** What certificates, orders and challenges are written to and read from: the table in memory, and books over the store. */

import type {
  AccountRow,
  CertificateRow,
  ChallengeRow,
  KeyType,
  OrderRow,
  RenewalRow,
  TicketKeyRow,
} from './rows.ts'

/** One certificate in memory. The same object until it changes. */
export interface KnownCertificate {
  readonly name: string
  readonly keyType: KeyType
  readonly names: readonly string[]
  readonly source: 'acme' | 'upload'
  /** Unix milliseconds. */
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** Goes up with each replacement. */
  readonly revision: number
  readonly renewal: KnownRenewal | undefined
  /** Reads the rest out of packed memory. */
  read(): CertificateRow
}

/** Unix milliseconds. */
export interface KnownRenewal {
  readonly renewAtMs: number
  readonly askAtMs: number
  readonly windowStartMs?: number
  readonly windowEndMs?: number
  readonly reason?: string
}

/** Everything of certificates that is followed in memory; all reads are synchronous and go on while the store is away. */
export interface CertificateTable {
  readonly ready: boolean
  /** Certificates. */
  readonly size: number
  /** For how long it has not been known to be fresh. */
  readonly ageMs: number
  /** Those whose names cover the host name: an exact name before a wildcard (RFC 9525 section 6.3), EC before RSA. */
  find(hostname: string): readonly KnownCertificate[]
  get(name: string, keyType: KeyType): KnownCertificate | undefined
  list(): Iterable<KnownCertificate>
  findOrder(name: string, keyType: KeyType): OrderRow | undefined
  listOrders(): Iterable<OrderRow>
  /** http-01; like the next two without what has run out. */
  findAnswer(token: string): ChallengeRow | undefined
  /** tls-alpn-01, by host name. */
  findAlpn(hostname: string): ChallengeRow | undefined
  /** Whether there is any challenge of tls-alpn-01: without one no connection need be looked at. */
  readonly hasAlpn: boolean
  /** dns-01: the values below one label. */
  findTxt(name: string): readonly string[]
  listTicketKeys(): readonly TicketKeyRow[]
  /** Calls `ring` in the turn of each change; it must neither throw nor take long. Returns what ends it. */
  onCertificate(ring: (name: string) => void): () => void
  onOrder(ring: (row: OrderRow) => void): () => void
  onTicketKey(ring: () => void): () => void
}

/** A row as the store has it. */
export interface Kept<Row> {
  readonly row: Row
  readonly revision: number
}

/** What becomes of the answers to an order's challenges in the commit that writes its row. */
export interface AnswerChanges {
  readonly put: readonly ChallengeRow[]
  /** Ids. */
  readonly remove: readonly string[]
}

/** Writes of a lost race return undefined and change nothing, so that no answer is left by who has lost the order. */
export interface OrderBook {
  find(name: string, keyType: KeyType): Promise<Kept<OrderRow> | undefined>
  /** `revision` 0: there must be none. Returns the new revision. */
  put(row: OrderRow, revision: number, answers?: AnswerChanges): Promise<number | undefined>
  /** Writes the certificate and its renewal, and deletes the order and its challenges, all at once or nothing. */
  complete(
    order: Kept<OrderRow>,
    result: { readonly certificate: CertificateRow; readonly renewal: RenewalRow },
  ): Promise<number | undefined>
  /** With its challenges. */
  delete(order: Kept<OrderRow>): Promise<boolean>
}

/** A document of the store as it was read, by which something is written. */
export interface Basis {
  readonly key: string
  readonly revision: number
}

export interface CertificateBook {
  find(name: string, keyType: KeyType): Promise<Kept<CertificateRow> | undefined>
  /** Rejects when `basis` has changed since it was read. */
  put(row: CertificateRow, renewal: RenewalRow | undefined, basis?: Basis): Promise<number>
  delete(name: string, keyType: KeyType): Promise<void>
  putRenewal(row: RenewalRow): Promise<void>
}

/** Answers are written with their order. */
export interface ChallengeBook {
  /** Those of them that are there. */
  find(ids: readonly string[]): Promise<readonly ChallengeRow[]>
  /** The live edges that have not said yet that they have every one; empty when all have. Without any live edge it holds one sentence that says so. */
  findMissing(ids: readonly string[]): Promise<readonly string[]>
}

export interface AccountBook {
  find(ca: string): Promise<Kept<AccountRow> | undefined>
  put(row: AccountRow, revision: number): Promise<number | undefined>
}

/** A bucket of a limit that the CA counts as well: `capacity` at once, refilled evenly over `windowMs`. */
export interface Budget {
  /** `domain`, `set`, `account`, `account-new`, `failures`. */
  readonly limit: string
  /** What is counted: a registered domain, a digest of names, an account. */
  readonly subject: string
  readonly capacity: number
  readonly windowMs: number
}

export interface BudgetState {
  readonly budget: Budget
  /** Whole ones that are left. */
  readonly left: number
  /** Unix milliseconds: when there is one again; in the past while there is. */
  readonly nextAtMs: number
}

export interface BudgetBook {
  /** Takes one of each, or nothing: then the bucket that is empty for the longest. */
  take(budgets: readonly Budget[]): Promise<BudgetState | undefined>
  read(budgets: readonly Budget[]): Promise<readonly BudgetState[]>
}

/** A name that one process of the fleet holds; it is renewed until disposal. */
export interface Hold extends AsyncDisposable {
  /** Aborted when the lease was lost, or cannot be known to be held any more. */
  readonly signal: AbortSignal
}

/** Late writes of who has lost a hold fail at the revision of what it was held for. */
export interface HoldBook {
  /** Undefined while another process holds it. */
  find(name: string): Promise<Hold | undefined>
}

export interface TicketKeyBook {
  list(): Promise<{ readonly keys: readonly TicketKeyRow[]; readonly version: number }>
  /** Writes and deletes all, or nothing: false when any key was changed since `version`. */
  change(
    change: { readonly put: readonly TicketKeyRow[]; readonly remove: readonly string[] },
    version: number,
  ): Promise<boolean>
}

export interface Books {
  readonly orders: OrderBook
  readonly certificates: CertificateBook
  readonly challenges: ChallengeBook
  readonly accounts: AccountBook
  readonly budgets: BudgetBook
  readonly holds: HoldBook
  readonly ticketKeys: TicketKeyBook
}
