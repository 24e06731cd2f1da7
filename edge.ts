/** The composition root of an edge: builds each part and hands it what it needs. */

import { Resolver } from 'node:dns/promises'
import { join } from 'node:path'
import { type Acme, startAcme } from './acme/acme.ts'
import { FAULTS as ACME_FAULTS } from './acme/errors.ts'
import { type LocalCa, loadLocalCa } from './acme/local-ca.ts'
import { type Auth, startAuth } from './auth/auth.ts'
import { FAULTS as AUTH_FAULTS } from './auth/errors.ts'
import { FAULTS as LOGIN_FAULTS } from './auth/login/errors.ts'
import type { Config } from './config.ts'
import type { Log } from './lib/log.ts'
import { isLoopback } from './lib/loopback.ts'
import type { Connectable } from './lib/piped-server.ts'
import { createSealer, deriveSealKeys, type Sealer } from './lib/seal.ts'
import { VERSION } from './lib/version.ts'
import type { LineWriter } from './proxy/access-log.ts'
import { toOwnRoute, withOwnRoutes } from './proxy/own-routes.ts'
import { startProxy } from './proxy/proxy.ts'
import type { Waker } from './proxy/wake-holds.ts'
import { type AccessTable, startAccessTable } from './routing/access/access-table.ts'
import { createSigningKeyBook } from './routing/access/signing-key-book.ts'
import { createTokenCheck, loadBootstrapToken } from './routing/api/bootstrap-token.ts'
import { startAdminApi } from './routing/api/server.ts'
import { createBooks } from './routing/certificates/books.ts'
import { startCertificateTable } from './routing/certificates/certificate-table.ts'
import { FAULTS as ROUTING_FAULTS } from './routing/errors.ts'
import { createLoginBook } from './routing/logins/login-book.ts'
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
  /** Of the DNS responder for challenges; 0 without one. */
  readonly dnsPort: number
  /** The local CA's certificate, to be trusted by clients. */
  readonly caFile: string
  /** The public HTTPS address of a host name. */
  readonly urlOf: (hostname: string) => string
}

/** RFC 6761: names that no other machine reaches. */
const LOCAL_DOMAIN = /(?:^|\.)(?:localhost|test)$/
/** How long DNS may take to prove a domain, in all. */
const DNS_TIMEOUT_MS = 5_000
const DNS_TRIES = 1
const HOURS_PER_DAY = 24

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
  const access = started.use(await startAccessTable({ store, log }))
  const secrets = await loadSecrets(config)
  const dns = createResolver(config)
  const common = { ...deps, ...secrets, table, access, urlOf, dns }
  const acme = started.use(await startCertificates(config, { ...common, ca }, started))
  const auth = started.use(await startAuthentication(config, common))
  const admin = started.use(await startApi(config, { ...common, auth, acme }))
  const proxy = started.use(await startPublicSide(config, { ...common, acme, meter, admin, auth }))
  ports.https = proxy.httpsPort
  started.use(startRetention({ store, log }, { ...config.api, domain: config.domain }))
  started.use(
    await startPresence(
      { store, log },
      { kind: 'edge', record: toEdgeRecord(config), isAlone: !config.store.isFleet },
    ),
  )
  acme.open()
  const running = started.move()
  const { httpsPort, httpPort, opsPort } = proxy
  return {
    ...{ httpsPort, httpPort, opsPort, dnsPort: acme.dnsPort, caFile: ca.certFile, urlOf },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

function startTable(config: Config, deps: EdgeDeps) {
  return startRouteTable(deps, toSnapshotSettings(config, 'table.snapshot'))
}

/** One process keeps no snapshot: its store is beside it on the same disk. */
function toSnapshotSettings({ store: { isFleet, snapshotMs }, dataFolder }: Config, fileName: string) {
  return isFleet ? { snapshot: { file: join(dataFolder, fileName), intervalMs: snapshotMs } } : {}
}

interface CommonParts extends EdgeDeps, Secrets {
  readonly table: RouteTable
  readonly access: AccessTable
  readonly urlOf: (hostname: string) => string
  /** What domains are checked with. */
  readonly dns: Resolver
}

interface Secrets {
  /** Of this edge; in a fleet it makes the first real token and nothing else. */
  readonly bootstrapToken: string
  readonly sealer: Sealer
  readonly pageSealer: Sealer
}

async function loadSecrets({ dataFolder, store: { isFleet, secretKeyFile } }: Config): Promise<Secrets> {
  const bootstrapToken = await loadBootstrapToken(dataFolder)
  const keys = await loadSecretKeys({ file: secretKeyFile, folder: dataFolder, isFleet })
  const pageSealer = createSealer(deriveSealKeys(keys, 'login pages'))
  return { bootstrapToken, sealer: createSealer(keys), pageSealer }
}

function startAuthentication(config: Config, parts: CommonParts) {
  const { table, access, log, store, sealer, pageSealer, urlOf } = parts
  const { isFleet } = config.store
  return startAuth(
    {
      ...{ access, log, pageSealer, keySealer: sealer, routes: table },
      signingKeyBook: createSigningKeyBook(store),
      loginStore: createLoginBook({ store, log }),
      isOperator: isFleet ? () => false : createTokenCheck(parts.bootstrapToken),
    },
    {
      ...config.auth,
      ...{ domain: config.domain, urlOf, isDevelopment: isDevelopment(config) },
      longestDays: longestDaysOf(config.auth),
    },
  )
}

function createResolver({ dns: { resolvers } }: Config): Resolver {
  const resolver = new Resolver({ timeout: DNS_TIMEOUT_MS, tries: DNS_TRIES })
  if (resolvers.length > 0) resolver.setServers(resolvers)
  return resolver
}

/** The feed is followed before the first certificate is asked for, and until the last one was. */
async function startCertificates(
  config: Config,
  parts: CommonParts & { readonly ca: LocalCa },
  started: AsyncDisposableStack,
): Promise<Acme> {
  const { store, log, table: routes, sealer, dns, ca } = parts
  const { domain, acme, dns: settings, listen, times } = config
  const snapshot = toSnapshotSettings(config, 'certificates.snapshot')
  const table = started.use(
    await startCertificateTable({ store, log }, { edgeName: listen.edgeName, ...snapshot }),
  )
  const isOwn = (hostname: string) => hostname === `auth.${domain}` || hostname === `admin.${domain}`
  const isServed = (hostname: string) => isOwn(hostname) || routes.find(hostname) !== undefined
  return startAcme(
    {
      ...{ table, localCa: ca, sealer, resolver: dns, log },
      books: createBooks({ store, log }, { isAlone: !config.store.isFleet }),
      isServed,
      // A route of which this edge has not heard yet may be there: until the table is fresh nobody knows what leads nowhere.
      isWanted: (hostname) => !routes.ready || routes.ageMs() > 0 || isServed(hostname),
    },
    { domain, headersMs: times.headersMs, acme, dns: settings },
  )
}

/** Everything is in one process, for nobody but this machine: no proxy and no public name leads here. */
function isDevelopment({ store, listen, domain }: Config): boolean {
  const isPublished = listen.trustedProxies.length > 0 || listen.publicPort !== 0
  return !store.isFleet && isLoopback(listen.host) && !isPublished && LOCAL_DOMAIN.test(domain)
}

async function startApi(config: Config, parts: CommonParts & { readonly auth: Auth; readonly acme: Acme }) {
  const { store, log, table, sealer, auth, acme, access, urlOf, bootstrapToken, dns } = parts
  const { domain, api, auth: settings } = config
  return startAdminApi(
    {
      ...{ store, log, table, dns, sealer, signer: auth.signer, certificates: acme.desk },
      findUser: (token, address) => auth.findUser(token, address),
      poolsOf: (user) => access.poolsOf(user),
    },
    {
      ...{ token: bootstrapToken, domain, urlOf, isFleet: config.store.isFleet },
      ...{
        ratePerSecond: api.ratePerSecond,
        tokenDays: settings.tokenDays,
        longestDays: longestDaysOf(settings),
      },
    },
  )
}

/** Nothing that lets anybody in lives longer. */
function longestDaysOf({ sessionDays, tokenDays, cookieHours }: Config['auth']): number {
  return Math.max(sessionDays, tokenDays, Math.ceil(cookieHours / HOURS_PER_DAY))
}

interface PublicParts extends CommonParts {
  readonly acme: Acme
  readonly meter: UsageMeter
  readonly admin: Connectable
  readonly auth: Auth
}

function startPublicSide(config: Config, parts: PublicParts) {
  const { acme, table, access, meter, admin, auth, store, log, accessLog } = parts
  const { domain } = config
  const ownPages = toOwnRoute(`auth.${domain}`, auth)
  const routes = withOwnRoutes(table, [ownPages, toOwnRoute(`admin.${domain}`, admin)])
  return startProxy(
    {
      routes,
      log,
      accessLog,
      faults: { ...ACME_FAULTS, ...AUTH_FAULTS, ...LOGIN_FAULTS, ...ROUTING_FAULTS },
      certificates: acme.serving,
      gate: auth.gate,
      ownPages,
      revocationAgeMs: () => access.ageMs,
      meter: {
        add: (pool, requests, egressBytes) => meter.add(pool, { requests, egressBytes }),
      },
      waker: createWaker(store),
      findUnready: () => [
        ...(table.ready ? [] : ['the route table is not loaded']),
        ...(acme.ready || !hasStoredCertificates(config) ? [] : ['the certificate table is not loaded']),
      ],
    },
    toProxySettings(config),
  )
}

/** Elsewhere the local CA makes them, and an edge can serve without the store's. */
function hasStoredCertificates({ store, acme }: Config): boolean {
  return store.isFleet || acme.cas.length > 0
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
