/** The keys of session tickets in the store. */

import type { TicketKeyRecord } from '../records/certificates.ts'
import { TICKET_KEYS } from '../records/record-kinds.ts'
import { createRotatedBook, type RotatedBook } from '../rotated-book.ts'
import type { BooksStore } from './books-store.ts'

export interface TicketKeyBook extends Pick<RotatedBook<TicketKeyRecord>, 'list'> {
  /** As `RotatedBook.change`. */
  change(
    change: { readonly put: readonly TicketKeyRecord[]; readonly remove: readonly string[] },
    version: number,
  ): Promise<boolean>
}

export function createTicketKeyBook(store: BooksStore): TicketKeyBook {
  return createRotatedBook(store, TICKET_KEYS, ({ sealsFrom }) => sealsFrom)
}
