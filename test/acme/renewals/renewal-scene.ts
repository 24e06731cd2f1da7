/** A small CA, a table and an office of renewals on a clock that a test turns. */

import type { Test } from 'tap'
import type { Books } from '../../../acme/books.ts'
import { openCa } from '../../../acme/ca/acme-ca.ts'
import { parseChain } from '../../../acme/ca/ca-objects.ts'
import type { OrderDemand } from '../../../acme/orders/orders.ts'
import { createRenewal } from '../../../acme/orders/renewal-moment.ts'
import { startRenewals } from '../../../acme/renewals/renewal-office.ts'
import type { RenewalsDeps, RenewalsSettings } from '../../../acme/renewals/renewal-settings.ts'
import type { CertificateRow, RenewalRow } from '../../../acme/rows.ts'
import { createBooks } from '../../../routing/certificates/books.ts'
import { startCertificateTable } from '../../../routing/certificates/certificate-table.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import { createRequest } from '../../helpers/ca-scene.ts'
import { certificateOf } from '../../helpers/certificate-rows.ts'
import { QUIET_LOG } from '../../helpers/quiet-log.ts'
import { SEALER } from '../../helpers/sealer.ts'
import { type SmallCaServerOptions, smallCaFor } from '../../helpers/small-ca.ts'
import { createIssuer } from '../../helpers/small-ca-issuer.ts'
import { until } from '../../helpers/until.ts'

export const DOMAIN = 'platform.example'
export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS
export const START_MS = Date.parse('2026-03-01T00:00:00.000Z')

export async function renewalSceneFor(t: Test, options: SmallCaServerOptions = {}) {
  const clock = { nowMs: START_MS }
  const now = () => clock.nowMs
  const small = await smallCaFor(t, { now, ...options })
  const store = await startMemoryStore()
  const wanted: OrderDemand[] = []
  const warnings: Record<string, unknown>[] = []
  const unwanted = new Set<string>()
  const log = { ...QUIET_LOG, warn: (fields: Record<string, unknown>) => void warnings.push(fields) }
  const books: Books = createBooks({ store, log: QUIET_LOG }, { holdMs: 20_000 })
  const table = await startCertificateTable({ store, log: QUIET_LOG })
  const ca = openCa(
    { ...books, sealer: SEALER, log: QUIET_LOG },
    { directory: small.directory, agreesToTerms: true, now, requestMs: 2_000 },
  )
  t.teardown(async () => {
    ca[Symbol.dispose]()
    await table[Symbol.asyncDispose]()
  })
  const issuer = await createIssuer()
  const scene = {
    ...{ clock, small, store, wanted, warnings, unwanted, books, table },
    start: (settings: Partial<RenewalsSettings> = {}, changes: Partial<RenewalsDeps> = {}) => {
      const renewals = startRenewals(
        {
          ...{ table, books, cas: [ca], log },
          orders: { want: async (demand) => void wanted.push(demand) },
          isWanted: (name) => !unwanted.has(name),
          ...changes,
        },
        { domain: DOMAIN, keyTypes: ['ec'], now, sweepMs: 20, ...settings },
      )
      t.teardown(() => renewals[Symbol.asyncDispose]())
      renewals.open()
      return renewals
    },
    /** A certificate of the CA's that is known at once. */
    add: async (name: string, changes: Partial<CertificateRow> = {}, renewal?: Partial<RenewalRow>) => {
      const notBefore = new Date(START_MS)
      const notAfter = new Date(START_MS + 90 * DAY_MS)
      const csr = await createRequest([name])
      const chain = parseChain(await issuer.issue({ csr, notBefore, notAfter }))
      const row = certificateOf(name, { ...rowOf(chain, small.directory), ...changes })
      const first = createRenewal(row, { nowMs: clock.nowMs, random: 0.5 })
      await books.certificates.put(row, row.source === 'acme' ? { ...first, ...renewal } : undefined)
      await until(() => table.get(name, row.keyType) !== undefined, 'it is known')
      return row
    },
    addPlatform: () => scene.add(DOMAIN, { names: [DOMAIN, `*.${DOMAIN}`] }),
    renewalOf: (name: string) => table.get(name, 'ec')?.renewal,
    asked: () => small.requests.filter((what) => what === 'renewal-info').length,
  }
  return scene
}

/** Ninety days from the start on. */
function rowOf(ders: readonly Buffer[], ca: string): Partial<CertificateRow> {
  const notBefore = new Date(START_MS).toISOString()
  const notAfter = new Date(START_MS + 90 * DAY_MS).toISOString()
  const chain = ders.map((der) => der.toString('base64'))
  return { chain, ca, notBefore, notAfter, createdAt: notBefore }
}

export type RenewalScene = Awaited<ReturnType<typeof renewalSceneFor>>

/** An upload that is due for a warning is seen by each sweep, so a new one tells that one has passed. */
export async function sweepsOf(scene: RenewalScene): Promise<void> {
  const name = `probe-${scene.clock.nowMs}-${Math.random().toString(36).slice(2)}.example`
  const notAfter = new Date(scene.clock.nowMs + DAY_MS / 2).toISOString()
  await scene.add(name, { source: 'upload', notAfter })
  await until(() => scene.warnings.some((fields) => fields.name === name), 'a sweep has passed')
}

/** A certificate that the CA itself knows. */
export async function orderedFor({ small, books }: RenewalScene, name: string): Promise<CertificateRow> {
  const ca = openCa(
    { ...books, sealer: SEALER, log: QUIET_LOG },
    { directory: small.directory, agreesToTerms: true },
  )
  const { signal } = new AbortController()
  const made = await ca.createOrder({ names: [name] }, signal)
  const authorization = await ca.getAuthorization(made.authorizations[0] ?? '', signal)
  await ca.answerChallenge(authorization.challenges[0]?.url ?? '', signal)
  const isProven = async () =>
    (await ca.getAuthorization(authorization.url, signal)).status === 'valid' &&
    (await ca.getOrder(made.url, signal)).status === 'ready'
  await until(isProven, 'it is proven')
  await ca.finalize(await ca.getOrder(made.url, signal), await createRequest([name]), signal)
  await until(async () => (await ca.getOrder(made.url, signal)).status === 'valid', 'it is issued')
  const ders = await ca.download(await ca.getOrder(made.url, signal), signal)
  ca[Symbol.dispose]()
  return certificateOf(name, rowOf(ders, small.directory))
}
