/** A store, its books and a certificate table that follows it, ended with the test. */

import type { Test } from 'tap'
import type { Books, CertificateTable } from '../../../acme/books.ts'
import { createBooks } from '../../../routing/certificates/books.ts'
import { startCertificateTable } from '../../../routing/certificates/certificate-table.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { until } from '../../helpers/until.ts'
import { createListLog } from '../logs.ts'
import { NOW, ticketKeyOf } from './rows.ts'

export const FAST = { minRetryMs: 1, maxRetryMs: 4, probeMs: 10, wallClock: () => Date.parse(NOW) }

export interface CertificateBed {
  readonly store: Store
  readonly books: Books
  readonly table: CertificateTable & AsyncDisposable
  readonly log: ReturnType<typeof createListLog>
}

export async function bedFor(t: Test, store?: Store): Promise<CertificateBed> {
  const used = store ?? (await startMemoryStore())
  const log = createListLog()
  const table = await startCertificateTable({ store: used, log }, FAST)
  t.teardown(async () => {
    await table[Symbol.asyncDispose]()
    await used[Symbol.asyncDispose]()
  })
  return { store: used, books: createBooks({ store: used, log }), table, log }
}

/** Once the table has everything that was written before. */
export async function caughtUp({ store, table }: CertificateBed): Promise<void> {
  const id = `mark-${Math.random().toString(36).slice(2)}`
  await store.put(`ticket-key/${id}`, { ...ticketKeyOf(id) })
  await until(() => table.listTicketKeys().some((key) => key.id === id), 'the table is fresh')
}
