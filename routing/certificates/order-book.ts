/** Orders in the store: every write names the revision that it follows, so that of two who carry one on only one does. */

import type { CertificateRecord, KeyType, OrderRecord, RenewalRecord } from '../records/certificates.ts'
import { ORDERS, toSlot } from '../records/record-kinds.ts'
import { type BooksStore, commitUnlessLost, findKept, type Kept, toDeletion, toWrite } from './books-store.ts'
import { toCertificateWrites, toOrderDeletions } from './certificate-book.ts'

/** Writes of a lost race return undefined (`delete`: false) and change nothing. */
export interface OrderBook {
  /** @throws RoutingError `api_record_broken` */
  find(name: string, keyType: KeyType): Promise<Kept<OrderRecord> | undefined>
  /** `revision` 0: there must be none. Returns the new revision. @throws RecordInvalid */
  put(row: OrderRecord, revision: number): Promise<number | undefined>
  /**
   * Writes the certificate and its renewal, and deletes the order and its challenges, all at once or nothing. Returns
   * the certificate's revision. @throws RecordInvalid
   */
  complete(
    order: Kept<OrderRecord>,
    result: { readonly certificate: CertificateRecord; readonly renewal: RenewalRecord },
  ): Promise<number | undefined>
  delete(order: Kept<OrderRecord>): Promise<boolean>
}

export function createOrderBook(store: BooksStore): OrderBook {
  return {
    find: (name, keyType) => findKept(store, ORDERS, toSlot({ name, keyType })),
    put: async (row, revision) => (await commitUnlessLost(store, [toWrite(ORDERS, row, revision)]))?.[0],
    complete: async (order, { certificate, renewal }) => {
      const mutations = [...toCertificateWrites(certificate, renewal), ...toOrderDeletions(order)]
      return (await commitUnlessLost(store, mutations))?.[0]
    },
    delete: async ({ row, revision }) => {
      const deletion = toDeletion(ORDERS.prefix + toSlot(row), revision)
      return (await commitUnlessLost(store, [deletion])) !== undefined
    },
  }
}
