/** Budgets in the store: buckets that are refilled evenly, of which an order takes from several at once or from none. */

import type { AcmeBudgetRecord } from '../records/certificates.ts'
import { commitPlanned, type Edit } from '../records/edits.ts'
import { ACME_BUDGETS, findSound } from '../records/record-kinds.ts'
import type { Document, StoredDocument } from '../store/store.ts'
import type { BooksStore } from './books-store.ts'

/** A bucket of a limit that the CA counts as well: `capacity` at once, refilled evenly over `windowMs`. */
export interface Budget {
  readonly limit: string
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
  /** Takes one of each, or nothing: then the bucket that is empty for the longest. @throws RecordInvalid */
  take(budgets: readonly Budget[]): Promise<BudgetState | undefined>
  read(budgets: readonly Budget[]): Promise<readonly BudgetState[]>
}

/** A bucket as it is now. */
interface Bucket {
  readonly budget: Budget
  readonly document: StoredDocument | undefined
  /** Until it is full; all that is known of a bucket (the generic cell rate algorithm of ITU-T I.371). */
  readonly emptyMs: number
}

/** A moment in a record is a whole millisecond, and each taking may round one down. */
const ROUNDING_MS = 1

/** `now` in Unix milliseconds. */
export function createBudgetBook(store: BooksStore, now: () => number): BudgetBook {
  return {
    take: (budgets) => takeOfEach(store, budgets, now),
    read: async (budgets) => {
      const buckets = await readBuckets(store, budgets, now())
      return buckets.map((bucket) => toState(bucket, now()))
    },
  }
}

async function takeOfEach(
  store: BooksStore,
  budgets: readonly Budget[],
  now: () => number,
): Promise<BudgetState | undefined> {
  const { plan } = await commitPlanned(store, async () => {
    const at = now()
    const buckets = await readBuckets(store, toDistinct(budgets), at)
    const [lacking] = buckets
      .map((bucket) => toState(bucket, at))
      .filter(({ left }) => left === 0)
      .sort((one, other) => other.nextAtMs - one.nextAtMs)
    return { lacking, edits: lacking === undefined ? buckets.map((bucket) => toTaking(bucket, at)) : [] }
  })
  return plan.lacking
}

/** What is named twice is one bucket, and one is taken. */
function toDistinct(budgets: readonly Budget[]): readonly Budget[] {
  return [...new Map(budgets.map((budget) => [keyOf(budget), budget])).values()]
}

function readBuckets(
  store: BooksStore,
  budgets: readonly Budget[],
  nowMs: number,
): Promise<readonly Bucket[]> {
  return Promise.all(
    budgets.map(async (budget) => {
      const document = await store.get(keyOf(budget))
      return { budget, document, emptyMs: emptyMsOf(budget, document, nowMs) }
    }),
  )
}

/** A record that cannot be read limits nothing, and is written anew. */
function emptyMsOf({ windowMs }: Budget, document: StoredDocument | undefined, nowMs: number): number {
  const record = document && findSound(ACME_BUDGETS, document)?.record
  const emptyMs = record === undefined ? 0 : Date.parse(record.fullAt) - nowMs
  return Math.min(Math.max(emptyMs, 0), windowMs)
}

function toState({ budget, emptyMs }: Bucket, nowMs: number): BudgetState {
  const { capacity, windowMs } = budget
  const oneMs = windowMs / capacity
  const left = Math.floor((windowMs - emptyMs + ROUNDING_MS) / oneMs)
  return { budget, left, nextAtMs: nowMs + emptyMs - ROUNDING_MS - (windowMs - oneMs) }
}

function toTaking({ budget, document, emptyMs }: Bucket, nowMs: number): Edit {
  const { limit, subject, capacity, windowMs } = budget
  const fullAt = new Date(Math.floor(nowMs + emptyMs + windowMs / capacity)).toISOString()
  const record: AcmeBudgetRecord = ACME_BUDGETS.parse({ limit, subject, fullAt })
  return { key: ACME_BUDGETS.keyOf(record), before: document, after: { ...record } as Document }
}

function keyOf({ limit, subject }: Budget): string {
  return `${ACME_BUDGETS.prefix}${limit}/${subject}`
}
