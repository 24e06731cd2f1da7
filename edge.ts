/** The composition root of an edge: builds each part and hands it what it needs. */

import { createCertificates } from './acme/certificates.ts'
import { loadLocalCa } from './acme/local-ca.ts'
import { FAULTS as AUTH_FAULTS } from './auth/errors.ts'
import { checkVisibility } from './auth/visibility.ts'
import type { Config } from './config.ts'
import type { Log } from './lib/log.ts'
import type { LineWriter } from './proxy/access-log.ts'
import { startProxy } from './proxy/proxy.ts'
import type { RelayRoute } from './proxy/upstream.ts'
import { type AdminApi, startAdminApi } from './routing/admin-api.ts'
import { loadAdminToken } from './routing/admin-token.ts'
import { FAULTS as API_FAULTS } from './routing/errors.ts'
import { type RouteTable, startRouteTable } from './routing/route-table.ts'
import type { Store } from './routing/store.ts'

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
}

/** @throws LandfallError, or Node's error with its code when a port cannot be had */
export async function startEdge(config: Config, { store, log, accessLog }: EdgeDeps): Promise<Edge> {
  await using started = new AsyncDisposableStack()
  const { domain, dataFolder } = config
  const ca = await loadLocalCa(dataFolder)
  const token = await loadAdminToken(dataFolder)
  const table = started.use(await startRouteTable({ store, log }))
  const admin = started.use(await startAdminApi({ store, log }, { token, domain }))
  const routes = withAdmin(table, admin, `admin.${domain}`)
  const isKnown = (hostname: string) =>
    routes.find(hostname) !== undefined || isBelowSingleLabel(hostname, domain)
  const certificates = createCertificates({ ca, isKnown, domain, log })
  const proxy = started.use(
    await startProxy(
      {
        routes,
        log,
        accessLog,
        faults: { ...AUTH_FAULTS, ...API_FAULTS },
        certificates: { ...certificates, defaultPem: () => ca.issue([domain, `*.${domain}`]) },
        visibility: { check: checkVisibility },
        findUnready: () => (table.ready ? [] : ['the route table is not loaded']),
      },
      toProxySettings(config),
    ),
  )
  const running = started.move()
  const { httpsPort, httpPort, opsPort } = proxy
  return {
    httpsPort,
    httpPort,
    opsPort,
    caFile: ca.certFile,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
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
