/** Orders in the store: every write names the revision that it follows, so that of two who carry one on only one does. */

import type {
  CertificateRecord,
  ChallengeRecord,
  KeyType,
  OrderRecord,
  RenewalRecord,
} from '../records/certificates.ts'
import { CHALLENGES, ORDERS, toSlot } from '../records/record-kinds.ts'
import type { Mutation } from '../store/store.ts'
import { type BooksStore, commitUnlessLost, findKept, type Kept, toDeletion, toWrite } from './books-store.ts'
import { toCertificateWrites, toOrderDeletions } from './certificate-book.ts'

/** What becomes of the answers to an order's challenges in the commit that writes its row. */
export interface AnswerChanges {
  /** Written over what is there. */
  readonly put: readonly ChallengeRecord[]
  /** Ids; none of those that are put. */
  readonly remove: readonly string[]
}

/**
 * Writes of a lost race return undefined (`delete`: false) and change nothing: an edge that was frozen, and has lost the
 * order meanwhile, leaves no answer behind that nobody would delete.
 */
export interface OrderBook {
  /** @throws RoutingError `api_record_broken` */
  find(name: string, keyType: KeyType): Promise<Kept<OrderRecord> | undefined>
  /** `revision` 0: there must be none. Returns the new revision. @throws RecordInvalid */
  put(row: OrderRecord, revision: number, answers?: AnswerChanges): Promise<number | undefined>
  /**
   * Writes the certificate and its renewal, and deletes the order and its challenges, all at once or nothing. Returns
   * the certificate's revision. @throws RecordInvalid
   */
  complete(
    order: Kept<OrderRecord>,
    result: { readonly certificate: CertificateRecord; readonly renewal: RenewalRecord },
  ): Promise<number | undefined>
  /** With its challenges. */
  delete(order: Kept<OrderRecord>): Promise<boolean>
}

const NO_ANSWERS: AnswerChanges = { put: [], remove: [] }

export function createOrderBook(store: BooksStore): OrderBook {
  return {
    find: (name, keyType) => findKept(store, ORDERS, toSlot({ name, keyType })),
    put: async (row, revision, answers = NO_ANSWERS) => {
      const mutations = [toWrite(ORDERS, row, revision), ...toAnswerWrites(answers)]
      return (await commitUnlessLost(store, mutations))?.[0]
    },
    complete: async (order, { certificate, renewal }) => {
      const mutations = [...toCertificateWrites(certificate, renewal), ...toOrderDeletions(order)]
      return (await commitUnlessLost(store, mutations))?.[0]
    },
    delete: async (order) => (await commitUnlessLost(store, toOrderDeletions(order))) !== undefined,
  }
}

function toAnswerWrites({ put, remove }: AnswerChanges): readonly Mutation[] {
  return [
    ...put.map((row) => toWrite(CHALLENGES, row)),
    ...remove.map((id) => toDeletion(CHALLENGES.prefix + id)),
  ]
}
