/** Puts certificates together: authorities, orders, renewals, challenges, tickets, and what a TLS port asks for. */

import type { Resolver } from 'node:dns/promises'
import type { Endpoint } from '../lib/address-text.ts'
import type { Log } from '../lib/log.ts'
import type { Sealer } from '../lib/seal.ts'
import type { Books, CertificateTable } from './books.ts'
import { openCa } from './ca/acme-ca.ts'
import type { Ca } from './ca/ca.ts'
import { loadExternalAccounts } from './ca/external-accounts.ts'
import type { Checks } from './checks/checks.ts'
import { createChecks } from './checks/name-checks.ts'
import { createDesk, type Desk } from './desk/desk.ts'
import { type DnsResponder, startDnsResponder } from './dns/responder.ts'
import { loadTsigKey } from './dns/tsig-key.ts'
import { createDnsUpdater } from './dns/update-client.ts'
import type { DnsUpdater } from './dns/updater.ts'
import type { LocalCa } from './local-ca.ts'
import { type OcspStaples, startStaples } from './ocsp/staples.ts'
import { startBudgetReading } from './orders/budget-reading.ts'
import type { OrderLimits } from './orders/order-budgets.ts'
import { startOrders } from './orders/order-runner.ts'
import type { CarriedOrders } from './orders/orders.ts'
import { type Renewals, startRenewals } from './renewals/renewal-office.ts'
import type { ChallengeType, KeyType } from './rows.ts'
import { KEY_TYPES } from './rows.ts'
import { createServing, type Serving } from './serving/serving.ts'
import { readSettingFile } from './setting-file.ts'
import { startTicketKeys } from './tickets/ticket-keys.ts'

export interface AcmeDeps {
  readonly table: CertificateTable
  readonly books: Books
  /** Makes certificates where no authority is asked, and the platform's until there is one. */
  readonly localCa: LocalCa
  readonly sealer: Sealer
  /** What domains are checked with. */
  readonly resolver: Resolver
  /** Whether a host name leads somewhere here: one look-up in memory. */
  readonly isServed: (hostname: string) => boolean
  /** The same, but also true while nobody can know. */
  readonly isWanted: (hostname: string) => boolean
  readonly log: Log
}

export interface AcmeSettings {
  readonly domain: string
  /** For how long a handshake may go on. */
  readonly headersMs: number
  readonly acme: {
    /** Directories, in the order in which they are tried; none: the local CA makes certificates. */
    readonly cas: readonly string[]
    readonly contact: string
    readonly agree: 'no' | 'yes'
    readonly eabFile: string
    readonly caFile: string
    readonly profiles: readonly string[]
    readonly keys: 'ec' | 'ec,rsa'
    readonly challenges: readonly ChallengeType[]
    readonly limits: OrderLimits
    readonly contexts: number
    readonly ticketHours: number
  }
  readonly dns: {
    readonly addresses: readonly string[]
    readonly listen: Endpoint | undefined
    readonly names: readonly string[]
    readonly updateServer: Endpoint | undefined
    readonly updateZone: string
    readonly updateKeyFile: string
  }
}

const MAX_CA_FILE_BYTES = 65_536
/** How long a handshake waits for its certificate. */
const MAX_WAIT_MS = 8_000
const HANDSHAKE_SHARE = 0.8

export interface Acme extends AsyncDisposable {
  /** To be called when this edge takes connections: before, no authority is told to look. */
  open(): void
  /** Whether the certificates of the store are known: before, every name is shown the local CA's. */
  readonly ready: boolean
  /** Fits proxy/certificates.ts. */
  readonly serving: Serving
  /** Fits routing/api/certificate-desk.ts. */
  readonly desk: Desk
  /** Of the DNS responder; 0 where there is none. */
  readonly dnsPort: number
}

/** @throws AcmeError `certificate_setting` */
export async function startAcme(deps: AcmeDeps, settings: AcmeSettings): Promise<Acme> {
  await using started = new AsyncDisposableStack()
  const { table, books, sealer, resolver, isServed, isWanted, log } = deps
  const { domain, acme } = settings
  const keyTypes: readonly KeyType[] = acme.keys === 'ec' ? ['ec'] : KEY_TYPES
  const { checks, responder, updater } = await startProofs(deps, settings, started)
  const cas = await openCas(deps, settings, started)
  const managed = startManaged({ ...deps, checks, updater, cas }, settings, started)
  const orders = managed?.orders
  // Also without an authority: uploads that end are warned of.
  const renewals = started.use(
    startRenewals({ table, books, orders, cas, isWanted, log }, { domain, keyTypes }),
  )
  const staples = started.use(startStapling({ table, resolver, log }, renewals))
  const tickets = started.use(
    await startTicketKeys({ table, book: books.ticketKeys, sealer, log }, { sealHours: acme.ticketHours }),
  )
  const serving = started.use(
    createServing(
      {
        ...{ table, sealer, localCa: deps.localCa, isServed, orders, staples, tickets, log },
        ...{ budgetLeft: managed?.budgetLeft, dnsCounts: responder && (() => responder.counts()) },
      },
      { domain, keyTypes, maxContexts: acme.contexts, demand: { waitMs: toWaitMs(settings) } },
    ),
  )
  const desk = createDesk(
    { table, books, checks, cas, orders, sealer, isServed },
    { domain, keyTypes, limits: acme.limits, challengeTypes: acme.challenges },
  )
  const running = started.move()
  const dnsPort = responder?.port ?? 0
  return {
    get ready() {
      return table.ready
    },
    open() {
      orders?.open()
      renewals.open()
    },
    ...{ serving, desk, dnsPort, [Symbol.asyncDispose]: () => running.disposeAsync() },
  }
}

/** What an OCSP answer calls revoked is replaced at once. */
function startStapling(deps: Pick<AcmeDeps, 'table' | 'resolver' | 'log'>, renewals: Renewals): OcspStaples {
  const onRevoked = (name: string, keyType: KeyType) => {
    renewals.hurry(name, keyType).catch((error: unknown) => {
      const said = 'a revoked certificate could not be hurried; the next OCSP answer does'
      deps.log.warn({ err: error, name }, said)
    })
  }
  return startStaples({ ...deps, onRevoked })
}

interface Proofs {
  readonly checks: Checks
  readonly responder: DnsResponder | undefined
  readonly updater: DnsUpdater | undefined
}

/** What proves names by DNS, and what looks before anybody is asked. */
async function startProofs(
  { table, resolver, log }: AcmeDeps,
  { domain, dns }: AcmeSettings,
  started: AsyncDisposableStack,
): Promise<Proofs> {
  const { listen, names, addresses } = dns
  const zone = `acme.${domain}`
  const updater = await loadUpdater(dns, resolver)
  const responder =
    listen &&
    started.use(
      await startDnsResponder(
        { table, log },
        { listen, zone, names: names.length > 0 ? names : [`ns.${domain}`] },
      ),
    )
  const checks = createChecks(
    { resolver, ...(updater && { updater }) },
    { domain, addresses, ...(listen && { responderZone: zone }) },
  )
  return { checks, responder, updater }
}

async function loadUpdater(
  { updateServer, updateZone, updateKeyFile }: AcmeSettings['dns'],
  resolver: Resolver,
): Promise<DnsUpdater | undefined> {
  if (updateServer === undefined) return undefined
  const key = await loadTsigKey(updateKeyFile)
  return createDnsUpdater({ resolver }, { server: updateServer, zone: updateZone, key })
}

async function openCas(
  { books: { accounts, holds }, sealer, log }: AcmeDeps,
  { acme: { cas, contact, agree, eabFile, caFile } }: AcmeSettings,
  started: AsyncDisposableStack,
): Promise<readonly Ca[]> {
  const external = await loadExternalAccounts(eabFile)
  const trustedPem = caFile === '' ? undefined : await readSettingFile(caFile, MAX_CA_FILE_BYTES)
  return cas.map((directory) => {
    const externalAccount = external.get(directory)
    const settings = {
      ...{ directory, agreesToTerms: agree === 'yes' },
      ...(contact !== '' && { contact }),
      ...(externalAccount && { externalAccount }),
      ...(trustedPem !== undefined && { trustedPem }),
    }
    return started.use(openCa({ accounts, holds, sealer, log }, settings))
  })
}

interface Managed {
  readonly orders: CarriedOrders
  readonly budgetLeft: () => ReadonlyMap<string, number>
}

type ManagedDeps = Pick<AcmeDeps, 'table' | 'books' | 'sealer' | 'isWanted' | 'log'> &
  Pick<Proofs, 'checks' | 'updater'> & { readonly cas: readonly Ca[] }

/** Everything that only an authority makes necessary; undefined without any. */
function startManaged(
  { table, books, sealer, isWanted, log, checks, updater, cas }: ManagedDeps,
  { domain, acme: { challenges: challengeTypes, profiles, limits } }: AcmeSettings,
  started: AsyncDisposableStack,
): Managed | undefined {
  const [first] = cas
  if (first === undefined) return undefined
  const orders = started.use(
    startOrders(
      { table, books, cas, checks, updater, sealer, isWanted, log },
      { domain, challengeTypes, profiles, limits },
    ),
  )
  const budgets = started.use(
    startBudgetReading({ budgets: books.budgets, log }, { directory: first.directory, limits }),
  )
  return { orders, budgetLeft: () => budgets.left() }
}

/** What is left of a handshake's time is for the handshake. */
function toWaitMs({ headersMs }: AcmeSettings): number {
  return Math.min(MAX_WAIT_MS, Math.floor(HANDSHAKE_SHARE * headersMs))
}
