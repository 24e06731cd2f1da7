/** Books of two edges on one store, for the promises of books. */

import type { Test } from 'tap'
import type { Books } from '../../acme/books.ts'
import { createBooks } from '../../routing/certificates/books.ts'
import type { Store } from '../../routing/store/store.ts'
import { createListLog } from '../helpers/list-log.ts'

/** Starts an empty store whose end is the test's. */
export type BookStoreFor = (t: Test) => Promise<Store>

export interface BookBed {
  readonly store: Store
  readonly books: Books
  /** Those of another edge. */
  readonly others: Books
}

export type BedFor = (t: Test) => Promise<BookBed>

export function createBedFor(storeFor: BookStoreFor): BedFor {
  return async (t) => {
    const store = await storeFor(t)
    const log = createListLog()
    return { store, books: createBooks({ store, log }), others: createBooks({ store, log }) }
  }
}
