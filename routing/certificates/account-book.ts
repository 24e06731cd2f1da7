/** The fleet's accounts at CAs in the store: one for each. */

import { digestOf } from '../../lib/digest.ts'
import type { AcmeAccountRecord } from '../records/certificates.ts'
import { ACME_ACCOUNTS } from '../records/record-kinds.ts'
import { type BooksStore, commitUnlessLost, findKept, type Kept, toWrite } from './books-store.ts'

export interface AccountBook {
  /** @throws RoutingError `api_record_broken` */
  find(ca: string): Promise<Kept<AcmeAccountRecord> | undefined>
  /** `revision` 0: there must be none. Undefined when another was faster. @throws RecordInvalid */
  put(row: AcmeAccountRecord, revision: number): Promise<number | undefined>
}

export function createAccountBook(store: BooksStore): AccountBook {
  return {
    find: (ca) => findKept(store, ACME_ACCOUNTS, digestOf(ca)),
    put: async (row, revision) =>
      (await commitUnlessLost(store, [toWrite(ACME_ACCOUNTS, row, revision)]))?.[0],
  }
}
