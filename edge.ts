/** The composition root of an edge: builds each part and hands it what it needs. */

import { Resolver } from 'node:dns/promises'
import { join } from 'node:path'
import { createCertificates } from './acme/certificates.ts'
import { type LocalCa, loadLocalCa } from './acme/local-ca.ts'
import { FAULTS as AUTH_FAULTS } from './auth/errors.ts'
import { checkVisibility } from './auth/visibility.ts'
import type { Config } from './config.ts'
import type { Log } from './lib/log.ts'
import { createSealer } from './lib/seal.ts'
import { VERSION } from './lib/version.ts'
import type { LineWriter } from './proxy/access-log.ts'
import { startProxy } from './proxy/proxy.ts'
import type { RelayRoute } from './proxy/upstream.ts'
import type { Waker } from './proxy/wake-holds.ts'
import { loadBootstrapToken } from './routing/api/bootstrap-token.ts'
import type { AdminApi } from './routing/api/piped-server.ts'
import { startAdminApi } from './routing/api/server.ts'
import { FAULTS as ROUTING_FAULTS } from './routing/errors.ts'
import { startPresence } from './routing/presence.ts'
import { findRecord, REPORTS } from './routing/records/record-kinds.ts'
import { startRetention } from './routing/retention.ts'
import { loadSecretKeys } from './routing/secrets.ts'
import type { Store } from './routing/store/store.ts'
import { type RouteTable, startRouteTable } from './routing/table/route-table.ts'
import { createSource, startUsageMeter, type UsageMeter } from './routing/usage/usage-meter.ts'
import { putCall } from './routing/vms/vm-calls.ts'

export interface EdgeDeps {
  readonly store: Store
  readonly log: Log
  /** Where access log lines go; pino's destination fits. */
  readonly accessLog: LineWriter
}

export interface Edge extends AsyncDisposable {
  /** The ports that were opened, where a setting asked for any. */
  readonly httpsPort: number
  readonly httpPort: number
  readonly opsPort: number
  /** The local CA's certificate, to be trusted by clients. */
  readonly caFile: string
  /** The public HTTPS address of a host name. */
  readonly urlOf: (hostname: string) => string
}

/** How long DNS may take to prove a domain, in all. */
const DNS_TIMEOUT_MS = 5_000
const DNS_TRIES = 1

/** @throws LandfallError, or Node's error with its code when a port cannot be had */
export async function startEdge(config: Config, deps: EdgeDeps): Promise<Edge> {
  await using started = new AsyncDisposableStack()
  const { store, log } = deps
  const ca = await loadLocalCa(config.dataFolder)
  const table = started.use(await startTable(config, deps))
  const meter = started.use(
    await startUsageMeter(
      { store, log },
      { source: createSource(config.listen.edgeName), flushMs: config.api.usageFlushMs },
    ),
  )
  // The API is reached through the proxy, and tells addresses that only the proxy knows.
  const ports = { https: 0 }
  const urlOf = (hostname: string) => toUrl(hostname, config.listen.publicPort || ports.https)
  const admin = started.use(await startApi(config, { ...deps, table, urlOf }))
  const proxy = started.use(await startPublicSide(config, { ...deps, ca, table, meter, admin }))
  ports.https = proxy.httpsPort
  started.use(startRetention({ store, log }, config.api))
  started.use(
    await startPresence(
      { store, log },
      { kind: 'edge', record: toEdgeRecord(config), isAlone: !config.store.isFleet },
    ),
  )
  const running = started.move()
  const { httpsPort, httpPort, opsPort } = proxy
  const caFile = ca.certFile
  return { httpsPort, httpPort, opsPort, caFile, urlOf, [Symbol.asyncDispose]: () => running.disposeAsync() }
}

/** One process keeps no snapshot: its store is beside it on the same disk. */
function startTable({ store: { isFleet, snapshotMs }, dataFolder }: Config, deps: EdgeDeps) {
  const snapshot = { file: join(dataFolder, 'table.snapshot'), intervalMs: snapshotMs }
  return startRouteTable(deps, isFleet ? { snapshot } : {})
}

interface ApiParts extends EdgeDeps {
  readonly table: RouteTable
  readonly urlOf: (hostname: string) => string
}

async function startApi(config: Config, { store, log, table, urlOf }: ApiParts) {
  const { dataFolder, domain, api } = config
  const { isFleet, secretKeyFile } = config.store
  const token = await loadBootstrapToken(dataFolder)
  const keys = await loadSecretKeys({ file: secretKeyFile, folder: dataFolder, isFleet })
  const dns = new Resolver({ timeout: DNS_TIMEOUT_MS, tries: DNS_TRIES })
  return startAdminApi(
    { store, log, table, dns, sealer: createSealer(keys) },
    { token, domain, isFleet, urlOf, ratePerSecond: api.ratePerSecond },
  )
}

interface PublicParts extends EdgeDeps {
  readonly ca: LocalCa
  readonly table: RouteTable
  readonly meter: UsageMeter
  readonly admin: AdminApi
}

function startPublicSide(config: Config, parts: PublicParts) {
  const { ca, table, meter, admin, store, log, accessLog } = parts
  const { domain } = config
  const routes = withAdmin(table, admin, `admin.${domain}`)
  const isKnown = (hostname: string) =>
    routes.find(hostname) !== undefined || isBelowSingleLabel(hostname, domain)
  const certificates = createCertificates({ ca, isKnown, domain, log })
  return startProxy(
    {
      routes,
      log,
      accessLog,
      faults: { ...AUTH_FAULTS, ...ROUTING_FAULTS },
      certificates: { ...certificates, defaultPem: () => ca.issue([domain, `*.${domain}`]) },
      visibility: { check: checkVisibility },
      meter: {
        add: (pool, requests, egressBytes) => meter.add(pool, { requests, egressBytes }),
      },
      waker: createWaker(store),
      findUnready: () => (table.ready ? [] : ['the route table is not loaded']),
    },
    toProxySettings(config),
  )
}

/** VMs are woken through the table, where their hosts read it. */
function createWaker(store: Store): Waker {
  return {
    ask: async (vm) => {
      await putCall(store, { vm, what: 'wake' })
    },
    findState: async (vm) => (await findRecord(store, REPORTS, vm))?.record.state,
  }
}

function toEdgeRecord({ listen }: Config) {
  return { name: listen.edgeName, version: VERSION, startedAt: new Date().toISOString() }
}

function toUrl(hostname: string, port: number): string {
  return port === 443 ? `https://${hostname}/` : `https://${hostname}:${port}/`
}

/**
 * No client accepts the wildcard `*.localhost`, so a mistyped name under a single-label domain needs a certificate
 * of its own to be shown our 404. Such domains are for development; elsewhere strangers cost nothing.
 */
function isBelowSingleLabel(hostname: string, domain: string): boolean {
  return !domain.includes('.') && hostname.endsWith(`.${domain}`) && hostname.split('.').length === 2
}

/** The table, and the admin API as one more route: it lives the same life of a request as any VM. */
function withAdmin(table: RouteTable, admin: AdminApi, hostname: string) {
  // The admin API asks for its own token, so the edge lets everybody come that far.
  const route: RelayRoute = {
    hostname,
    visibility: 'public',
    state: 'running',
    generation: 0,
    dial: () => admin.connect(),
  }
  return {
    find: (name: string) => (name === hostname ? route : table.find(name)),
    onRow: (name: string, ring: () => void) => table.onRow(name, ring),
    status: () => table.status(),
    get size() {
      return table.size
    },
    get revision() {
      return table.revision
    },
    ageMs: () => table.ageMs(),
  }
}

function toProxySettings({ listen, limits, times, domain }: Config) {
  return {
    listen,
    limits: { ...limits, trustedProxies: listen.trustedProxies },
    times,
    edgeName: listen.edgeName,
    // Every edge of a fleet serves the same domain, so a circle through two edges is seen as well.
    loopId: domain,
  }
}
