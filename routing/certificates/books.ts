/** The books of certificates over the store: each write is one commit, and says so when another was faster. */

import { type AccountBook, createAccountBook } from './account-book.ts'
import type { BooksDeps } from './books-store.ts'
import { type BudgetBook, createBudgetBook } from './budget-book.ts'
import { type CertificateBook, createCertificateBook } from './certificate-book.ts'
import { type ChallengeBook, createChallengeBook } from './challenge-book.ts'
import { createHoldBook, type HoldBook } from './hold-book.ts'
import { createOrderBook, type OrderBook } from './order-book.ts'
import { createTicketKeyBook, type TicketKeyBook } from './ticket-key-book.ts'

export interface Books {
  readonly orders: OrderBook
  readonly certificates: CertificateBook
  readonly challenges: ChallengeBook
  readonly accounts: AccountBook
  readonly budgets: BudgetBook
  readonly holds: HoldBook
  readonly ticketKeys: TicketKeyBook
}

export interface BooksSettings {
  /** How long the others wait for a sign of life of who holds a name. 15,000 by default. */
  readonly holdMs?: number
  /** No other process can have this store open. */
  readonly isAlone?: boolean
  /** Unix milliseconds. */
  readonly now?: () => number
}

const HOLD_MS = 15_000

/** Everything is read from the store, never from memory. Every method @throws RoutingError `store_…` */
export function createBooks(
  deps: BooksDeps,
  { holdMs = HOLD_MS, isAlone = false, now = Date.now }: BooksSettings = {},
): Books {
  const { store } = deps
  return {
    orders: createOrderBook(store),
    certificates: createCertificateBook(store),
    challenges: createChallengeBook(store),
    accounts: createAccountBook(store),
    budgets: createBudgetBook(store, now),
    holds: createHoldBook(deps, { ttlMs: holdMs, isAlone }),
    ticketKeys: createTicketKeyBook(store),
  }
}
