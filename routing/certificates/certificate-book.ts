/** Certificates in the store, and when each is to be renewed. */

import { RecordInvalid, RevisionConflict } from '../errors.ts'
import type { CertificateRecord, KeyType, OrderRecord, RenewalRecord } from '../records/certificates.ts'
import { CERTIFICATES, CHALLENGES, ORDERS, RENEWALS, toSlot } from '../records/record-kinds.ts'
import type { Mutation } from '../store/store.ts'
import { type BooksStore, commitUnlessLost, findKept, type Kept, toDeletion, toWrite } from './books-store.ts'
import { isRenewalOf } from './renewal-of.ts'

/** A document as it was read, by which something is written. */
export interface Basis {
  readonly key: string
  readonly revision: number
}

export interface CertificateBook {
  find(name: string, keyType: KeyType): Promise<Kept<CertificateRecord> | undefined>
  /**
   * An uploaded one ends an order for the same, so that it is not replaced by what was on its way.
   * @throws RecordInvalid; RevisionConflict when `basis` has changed since it was read
   */
  put(row: CertificateRecord, renewal: RenewalRecord | undefined, basis?: Basis): Promise<number>
  delete(name: string, keyType: KeyType): Promise<void>
  /** Does nothing when there is another certificate by now than it speaks of. @throws RecordInvalid */
  putRenewal(row: RenewalRecord): Promise<void>
}

export function createCertificateBook(store: BooksStore): CertificateBook {
  return {
    find: (name, keyType) => findKept(store, CERTIFICATES, toSlot({ name, keyType })),
    put: (row, renewal, basis) =>
      putCertificate(store, row, { writes: toCertificateWrites(row, renewal), basis }),
    delete: async (name, keyType) => {
      const slot = toSlot({ name, keyType })
      await store.commit([toDeletion(CERTIFICATES.prefix + slot), toDeletion(RENEWALS.prefix + slot)])
    },
    putRenewal: (row) => putRenewal(store, row),
  }
}

/** The certificate first; its revision is the first of the commit. @throws RecordInvalid */
export function toCertificateWrites(
  row: CertificateRecord,
  renewal: RenewalRecord | undefined,
): readonly Mutation[] {
  const slot = toSlot(row)
  if (renewal === undefined) return [toWrite(CERTIFICATES, row), toDeletion(RENEWALS.prefix + slot)]
  if (toSlot(renewal) !== slot || !isRenewalOf(renewal.of, row)) {
    throw new RecordInvalid('/of', "It must be the certificate's notAfter, a space and its createdAt.")
  }
  return [toWrite(CERTIFICATES, row), toWrite(RENEWALS, renewal)]
}

/** Its row, and the answers to its challenges. */
export function toOrderDeletions({ row, revision }: Kept<OrderRecord>): readonly Mutation[] {
  const ids = (row.authorizations ?? []).flatMap(({ challenge }) => challenge?.id ?? [])
  return [
    toDeletion(ORDERS.prefix + toSlot(row), revision),
    ...[...new Set(ids)].map((id) => toDeletion(CHALLENGES.prefix + id)),
  ]
}

async function putCertificate(
  store: BooksStore,
  row: CertificateRecord,
  { writes, basis }: { readonly writes: readonly Mutation[]; readonly basis: Basis | undefined },
): Promise<number> {
  for (;;) {
    const checks = basis ? [await toCheck(store, basis)] : []
    const deletions = row.source === 'upload' ? await findOrderDeletions(store, toSlot(row)) : []
    const revisions = await commitUnlessLost(store, [...writes, ...deletions, ...checks])
    if (revisions !== undefined) return revisions[0] ?? 0
  }
}

/** @throws RevisionConflict when it has changed already: no further attempt would succeed */
async function toCheck(store: BooksStore, { key, revision }: Basis): Promise<Mutation> {
  const current = (await store.get(key))?.revision ?? 0
  if (current !== revision) throw new RevisionConflict({ key, current })
  return { key, value: undefined, ifRevision: revision, isCheck: true }
}

/** Also of an order that cannot be read: it is nobody's any more. */
async function findOrderDeletions(store: BooksStore, slot: string): Promise<readonly Mutation[]> {
  const document = await store.get(ORDERS.prefix + slot)
  if (document === undefined) return [toDeletion(ORDERS.prefix + slot, 0)]
  const { key, value, revision } = document
  try {
    return toOrderDeletions({ row: ORDERS.parse(value, key), revision })
  } catch (error) {
    if (!(error instanceof RecordInvalid)) throw error
    return [toDeletion(key, revision)]
  }
}

async function putRenewal(store: BooksStore, row: RenewalRecord): Promise<void> {
  const write = toWrite(RENEWALS, row)
  for (;;) {
    const certificate = await findKept(store, CERTIFICATES, toSlot(row))
    if (certificate === undefined || !isRenewalOf(row.of, certificate.row)) return
    const key = CERTIFICATES.prefix + toSlot(row)
    const check = { key, value: undefined, ifRevision: certificate.revision, isCheck: true as const }
    if ((await commitUnlessLost(store, [check, write])) !== undefined) return
  }
}
