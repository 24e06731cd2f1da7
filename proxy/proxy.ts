/** Builds the relay out of its parts and opens its ports; on disposal it drains them. */

import { Deadlines } from '../lib/deadlines.ts'
import type { Fault } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { createAccessLog, type LineWriter } from './access-log.ts'
import type { Certificates } from './certificates.ts'
import { ClientRegistry, type ClientRegistrySettings } from './client-registry.ts'
import { Decisions } from './decisions.ts'
import { drain } from './drain.ts'
import type { EgressMeter } from './egress-meter.ts'
import { createEngine } from './engine.ts'
import { errorsPage } from './error-page.ts'
import { FAULTS } from './errors.ts'
import type { Exchange } from './exchange.ts'
import type { ForwardingSettings } from './forwarding.ts'
import type { Gate } from './gate.ts'
import type { ServerDeps } from './h1-server.ts'
import { type HandleDeps, handle } from './handle.ts'
import { redirectToHttps, startHttpListener } from './http-listener.ts'
import { createMetrics, type Gauges, type Metrics } from './metrics.ts'
import { startOpsListener, type TableState } from './ops-listener.ts'
import { createRefuse } from './refusal.ts'
import type { RelayTimes } from './relay.ts'
import { Reviews, type ReviewsDeps } from './reviews.ts'
import { startTlsListener } from './tls-listener.ts'
import type { OpenTunnel } from './tunnel.ts'
import type { RelayRoute } from './upstream.ts'
import { UpstreamPool } from './upstream-pool.ts'
import { WakeHolds, type WakeHoldsDeps } from './wake-holds.ts'

export interface ProxyDeps {
  readonly gate: Gate
  /** Our own pages: what every host has under `/.landfall/` and `/.well-known/landfall/`. */
  readonly ownPages?: RelayRoute
  /** For how long word of revocations has not been known to be fresh. */
  readonly revocationAgeMs?: () => number
  /** Errors of other parts that this edge answers with; the relay's own are known. */
  readonly faults: Readonly<Record<string, Fault>>
  readonly routes: WakeHoldsDeps['routes'] &
    ReviewsDeps['routes'] & {
      status(): Omit<TableState, 'ageSeconds' | 'refused'> & { readonly refused: { readonly count: number } }
      ageMs(): number
    }
  readonly certificates: Certificates
  readonly log: Log
  readonly accessLog: LineWriter
  readonly meter: EgressMeter
  readonly findUnready: () => readonly string[]
  readonly waker: WakeHoldsDeps['waker']
}

export interface ProxySettings extends ForwardingSettings {
  readonly listen: {
    readonly host: string
    readonly httpsPort: number
    readonly httpPort: number
    readonly opsPort: number
    readonly httpMode: 'redirect' | 'relay'
    readonly accessLog: 'on' | 'off'
  }
  readonly limits: Omit<ClientRegistrySettings, 'idleMs'> & {
    readonly headerBytes: number
    readonly headerCount: number
    readonly urlBytes: number
    readonly streams: number
    readonly bodyBytesPerSecond: number
    readonly upstreamConnections: number
    readonly tunnelPorts: HandleDeps['tunnelPorts']
  }
  readonly times: RelayTimes & {
    readonly headersMs: number
    readonly keepAliveMs: number
    readonly drainMs: number
    readonly wakeMs: number
  }
}

export interface Proxy extends AsyncDisposable {
  readonly httpsPort: number
  readonly httpPort: number
  readonly opsPort: number
}

/** Refused requests of a line are answered by recursion, so it must not be long. */
const MAX_PIPELINE = 100

/** @throws Error when a port cannot be had; what was opened before is closed again */
export async function startProxy(deps: ProxyDeps, settings: ProxySettings): Promise<Proxy> {
  await using started = new AsyncDisposableStack()
  const core = createCore(deps, settings, started)
  const { times, limits, listen } = settings
  const serverDeps = { ...core.server, handle: (exchange: Exchange) => handle(exchange, core.handle) }
  const serverSettings = { ...limits, ...times, host: listen.host }
  const ops = started.use(
    await startOpsListener(
      { registry: core.metrics.registry, readTable: () => readTable(deps), findUnready: core.findUnready },
      { port: listen.opsPort },
    ),
  )
  const tlsDeps = {
    ...serverDeps,
    certificates: deps.certificates,
    reportHandshake: core.metrics.countHandshake,
  }
  const https = started.use(await startTlsListener(tlsDeps, { ...serverSettings, port: listen.httpsPort }))
  const redirect = (exchange: Exchange) =>
    redirectToHttps(exchange, { ...core, ...deps, limits, httpsPort: () => https.port })
  const httpDeps = listen.httpMode === 'relay' ? serverDeps : { ...serverDeps, handle: redirect }
  const http = started.use(await startHttpListener(httpDeps, { ...serverSettings, port: listen.httpPort }))
  started.defer(() => drain([https, http], core.server, times.drainMs))
  const running = started.move()
  return {
    httpsPort: https.port,
    httpPort: http.port,
    opsPort: ops.port,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

/** Everything between the ports and the upstreams. */
function createCore(deps: ProxyDeps, settings: ProxySettings, started: AsyncDisposableStack) {
  const { limits, times, edgeName } = settings
  const deadlines = started.use(new Deadlines())
  const pool = started.use(new UpstreamPool(limits))
  deadlines.add(pool)
  const clients = new ClientRegistry({ ...limits, idleMs: times.idleMs })
  deadlines.add(clients)
  const tunnels = new Set<OpenTunnel>()
  const tunnelBytes = { websocket: { in: 0, out: 0 }, connect: { in: 0, out: 0 } }
  const drainState = { isDraining: false }
  const wakes = () => ({ held: holds.size, asked: holds.asked })
  const undecided = () => decisions.size
  const sources = { clients, pool, tunnels, tunnelBytes, drainState, wakes, undecided }
  const metrics = createMetrics(gaugesOf(deps, sources))
  const ends = createEnds(deps, settings, metrics)
  const holds = new WakeHolds({ ...deps, ...ends, deadlines }, { timeoutMs: times.wakeMs })
  const decisions = new Decisions({ ...deps, ...ends, deadlines })
  const reviews = started.use(new Reviews({ ...deps, clients, onEnded: (code) => metrics.countEnded(code) }))
  deadlines.add(reviews)
  const { bodyBytesPerSecond } = limits
  const { meter } = deps
  const relayDeps = { ...ends, bodyBytesPerSecond, times, pool, deadlines, tunnels, tunnelBytes, meter }
  const engine = createEngine({ ...settings, ...relayDeps })
  const server = {
    clients,
    edgeName,
    drainState,
    pipelineLimit: Math.min(limits.streams, MAX_PIPELINE),
    reportBadRequest: createBadRequestReport(
      metrics,
      settings.listen.accessLog === 'on' ? deps.log : undefined,
    ),
  }
  const findUnready = () => [...(drainState.isDraining ? ['draining'] : []), ...deps.findUnready()]
  const errorsPage = pageOf(deps.faults)
  return {
    server: { ...server, tunnels },
    handle: { ...deps, ...ends, limits, ...limits, holds, decisions, engine, errorsPage },
    metrics,
    ...ends,
    findUnready,
  }
}

/** The two ways in which every exchange ends. */
function createEnds({ accessLog, log }: ProxyDeps, { listen, edgeName }: ProxySettings, metrics: Metrics) {
  const settle = createSettle(metrics, listen.accessLog === 'on' ? createAccessLog(accessLog) : () => {})
  return { settle, refuse: createRefuse({ edgeName, log, settle }) }
}

/** The log line and the count of bytes that never became a request. */
function createBadRequestReport(metrics: Metrics, log: Log | undefined): ServerDeps['reportBadRequest'] {
  return (error, { address, requestId }) => {
    metrics.countBadRequest(error.code)
    const facts = {
      request_id: requestId,
      remote_ip: address,
      status: error.fault.status,
      error_code: error.code,
    }
    log?.info({ logger: 'access', ...facts, reason: reasonOf(error.cause) }, 'bad request')
  }
}

function pageOf(faults: ProxyDeps['faults']): Buffer {
  return Buffer.from(errorsPage({ ...FAULTS, ...faults }))
}

/** Only the parser's code: the error itself holds the client's raw bytes, cookies and tokens among them. */
function reasonOf(cause: unknown): string {
  return (cause as NodeJS.ErrnoException | undefined)?.code ?? ''
}

interface GaugeSources {
  readonly clients: ClientRegistry
  readonly pool: UpstreamPool
  readonly tunnels: ReadonlySet<OpenTunnel>
  readonly tunnelBytes: ReturnType<Gauges['tunnelBytes']>
  readonly drainState: { readonly isDraining: boolean }
  readonly wakes: Gauges['wakes']
  readonly undecided: Gauges['undecided']
}

function readTable({ routes }: ProxyDeps): TableState {
  const { source, revision, rows, refused, held } = routes.status()
  return { source, revision, rows, ageSeconds: routes.ageMs() / 1_000, refused: refused.count, held }
}

function gaugesOf(deps: ProxyDeps, sources: GaugeSources): Gauges {
  const { clients, pool, tunnels, tunnelBytes, drainState, wakes, undecided } = sources
  return {
    table: () => readTable(deps),
    clientConnections: () => clients.openConnections,
    upstreamConnections: () => pool.openConnections,
    tunnels: (kind) => [...tunnels].filter((tunnel) => tunnel.kind === kind).length,
    tunnelBytes: () => tunnelBytes,
    isDraining: () => Number(drainState.isDraining),
    wakes,
    undecided,
    revocationAgeMs: deps.revocationAgeMs,
    certificates: () => deps.certificates.report(),
  }
}

/** The end of every exchange, refused or relayed. */
function createSettle(
  metrics: Metrics,
  writeLine: ReturnType<typeof createAccessLog>,
): (exchange: Exchange) => void {
  return (exchange) => {
    const durationSeconds = (performance.now() - exchange.record.startedAt) / 1_000
    metrics.countExchange(exchange, durationSeconds)
    writeLine(exchange, durationSeconds)
    exchange.onSettled()
  }
}
