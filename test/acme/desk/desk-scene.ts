/** A desk over a memory store, with DNS, authorities and orders as a test says. */

import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import type { Books, Budget, CertificateTable } from '../../../acme/books.ts'
import type { Ca, CaFacts } from '../../../acme/ca/ca.ts'
import type { CheckDemand, CheckStep } from '../../../acme/checks/checks.ts'
import { createDesk } from '../../../acme/desk/desk.ts'
import type { CertificateChange, DeskSettings } from '../../../acme/desk/desk-settings.ts'
import type { OrderDemand } from '../../../acme/orders/orders.ts'
import type { KeyType, OrderRow } from '../../../acme/rows.ts'
import { createSealer } from '../../../lib/seal.ts'
import { createBooks } from '../../../routing/certificates/books.ts'
import { startCertificateTable } from '../../../routing/certificates/certificate-table.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import { CA, certificateOf, orderOf, renewalOf } from '../../helpers/certificate-rows.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { type Minted, mintChain, NOW } from '../../helpers/minted.ts'
import { until } from '../../helpers/until.ts'

export const SHOP = 'www.shop.example'
export const AT = new Date(NOW).toISOString()
const FACTS: CaFacts = {
  profiles: [],
  hasRenewalInfo: true,
  caaIdentities: ['ca.example'],
  needsExternalAccount: false,
}

export interface DeskScene {
  readonly desk: ReturnType<typeof createDesk>
  readonly books: Books
  readonly table: CertificateTable
  readonly store: Awaited<ReturnType<typeof startMemoryStore>>
  readonly sealer: ReturnType<typeof createSealer>
  readonly wanted: OrderDemand[]
  readonly demands: CheckDemand[]
  readonly changes: CertificateChange[]
  readonly note: (change: CertificateChange) => Promise<void>
  /** Host names with a route. */
  readonly served: Set<string>
}

export interface DeskOptions extends Partial<DeskSettings> {
  readonly steps?: readonly CheckStep[]
  readonly cas?: readonly Ca[]
  /** False: there is no CA to order from. */
  readonly isManaged?: boolean
  /** DNS never answers. */
  readonly hangs?: boolean
}

export async function deskFor(t: Test, options: DeskOptions = {}): Promise<DeskScene> {
  const store = await startMemoryStore()
  const log = createListLog()
  const books = createBooks({ store, log }, { now: () => NOW })
  const table = await startCertificateTable({ store, log }, {})
  t.teardown(async () => {
    await table[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
  })
  const sealer = createSealer(randomBytes(32))
  const wanted: OrderDemand[] = []
  const demands: CheckDemand[] = []
  const changes: CertificateChange[] = []
  const served = new Set([SHOP])
  const { steps = [], cas = [caOf(CA)], hangs = false, isManaged = true, ...settings } = options
  const desk = createDesk(
    {
      table,
      books,
      cas,
      sealer,
      checks: { check: (demand, signal) => answer(demands, demand, { steps, signal, hangs }) },
      orders: isManaged ? { want: async (demand) => void wanted.push(demand) } : undefined,
      isServed: (hostname) => served.has(hostname),
    },
    {
      domain: 'example.test',
      keyTypes: ['ec', 'rsa'],
      limits: { domain: 40, set: 4, account: 240, failures: 4 },
      challengeTypes: ['tls-alpn-01', 'http-01'],
      now: () => NOW,
      ...settings,
    },
  )
  const note = async (change: CertificateChange) => void changes.push(change)
  return { desk, books, table, store, sealer, wanted, demands, changes, note, served }
}

function answer(
  demands: CheckDemand[],
  demand: CheckDemand,
  { steps, signal, hangs }: { steps: readonly CheckStep[]; signal: AbortSignal; hangs: boolean },
) {
  demands.push(demand)
  if (!hangs) return Promise.resolve({ steps, types: demand.types })
  if (signal.aborted) return Promise.reject(signal.reason)
  return new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason))
  })
}

/** One that tells its facts, or fails. */
export function caOf(directory: string, failure?: Error): Ca {
  const facts = () => (failure ? Promise.reject(failure) : Promise.resolve(FACTS))
  return { directory, facts } as unknown as Ca
}

/** What the CA ordered for a name, in the table. */
export async function putOrdered(
  { books, table, sealer }: DeskScene,
  { name = SHOP, keyType = 'ec' }: { readonly name?: string; readonly keyType?: KeyType } = {},
): Promise<Minted> {
  const names = name === 'example.test' ? [name, `*.${name}`] : [name]
  const { leaf, intermediate } = await mintChain({ names, kind: keyType === 'ec' ? 'P-256' : 'rsa-2048' })
  const row = certificateOf(name, {
    ...{ names, keyType },
    chain: [leaf, intermediate].map(({ der }) => der.toString('base64')),
    sealedKey: sealer.seal('the key', `certificate/${name}/${keyType}`),
    notBefore: new Date(NOW - 86_400_000).toISOString(),
    notAfter: new Date(NOW + 80 * 86_400_000).toISOString(),
    createdAt: new Date(NOW - 86_400_000).toISOString(),
  })
  const renewAt = new Date(NOW + 50 * 86_400_000).toISOString()
  const windowEnd = new Date(NOW + 52 * 86_400_000).toISOString()
  const renewal = renewalOf(row, { renewAt, askAt: renewAt, windowStart: renewAt, windowEnd })
  await books.certificates.put(row, renewal)
  await until(() => table.get(name, keyType) !== undefined, 'the table has the certificate')
  return leaf
}

export async function spend({ books }: DeskScene, budgets: readonly Budget[]): Promise<void> {
  while ((await books.budgets.take(budgets)) === undefined);
}

export async function putOrder({ books, table }: DeskScene, order: Partial<OrderRow>): Promise<void> {
  const row = orderOf(SHOP, { state: 'ordered', createdAt: AT, ca: CA, ...order })
  await books.orders.put(row, 0)
  await until(() => table.findOrder(row.name, row.keyType) !== undefined, 'the table has the order')
}

export function statesOf(steps: readonly { readonly step: string; readonly state: string }[]): string[] {
  return steps.map(({ step, state }) => `${step} ${state}`)
}
