/** A store, its books and a certificate table that follows it, ended with the test. */

import type { Test } from 'tap'
import type { Books, CertificateTable } from '../../acme/books.ts'
import type { CertificateRow, OrderRow } from '../../acme/rows.ts'
import { createBooks } from '../../routing/certificates/books.ts'
import { startCertificateTable } from '../../routing/certificates/certificate-table.ts'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import type { Store } from '../../routing/store/store.ts'
import { challengeOf, NOW } from './certificate-rows.ts'
import { putChallenges } from './challenge-writes.ts'
import { createListLog } from './list-log.ts'
import { until } from './until.ts'

const FEED = { minRetryMs: 1, maxRetryMs: 4, probeMs: 10 }
export const FAST = { ...FEED, wallClock: () => Date.parse(NOW) }

export interface CertificateBed {
  readonly store: Store
  readonly books: Books
  readonly table: CertificateTable & AsyncDisposable
  readonly log: ReturnType<typeof createListLog>
}

export interface BedOptions {
  readonly store?: Store
  /** Unix milliseconds; the system's clock unless given. */
  readonly wallClock?: () => number
}

export async function bedFor(t: Test, { store, ...settings }: BedOptions = {}): Promise<CertificateBed> {
  const used = store ?? (await startMemoryStore())
  const log = createListLog()
  const table = await startCertificateTable({ store: used, log }, { ...FEED, ...settings })
  t.teardown(async () => {
    await table[Symbol.asyncDispose]()
    await used[Symbol.asyncDispose]()
  })
  return { store: used, books: createBooks({ store: used, log }), table, log }
}

/** Once the table has everything that was written before. */
export async function caughtUp({ store, table }: Pick<CertificateBed, 'store' | 'table'>): Promise<void> {
  const mark = challengeOf(`mark-${Math.random().toString(36).slice(2)}`)
  await putChallenges(store, [mark])
  await until(() => table.findAnswer(mark.token ?? '') !== undefined, 'the table is fresh')
}

/** Certificates without a renewal, which the table has when this resolves. */
export async function putRows(bed: CertificateBed, rows: readonly CertificateRow[]): Promise<void> {
  for (const row of rows) await bed.books.certificates.put(row, undefined)
  await caughtUp(bed)
}

/** Whatever there was before. */
export async function putOrderRow(bed: CertificateBed, row: OrderRow): Promise<void> {
  const kept = await bed.books.orders.find(row.name, row.keyType)
  await bed.books.orders.put(row, kept?.revision ?? 0)
  await caughtUp(bed)
}

/** Its certificates of both kinds, and the order of either. */
export async function deleteRows(bed: CertificateBed, name: string): Promise<void> {
  for (const keyType of ['ec', 'rsa'] as const) {
    await bed.books.certificates.delete(name, keyType)
    const kept = await bed.books.orders.find(name, keyType)
    if (kept !== undefined) await bed.books.orders.delete(kept)
  }
  await caughtUp(bed)
}
