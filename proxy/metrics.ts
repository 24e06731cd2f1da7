/** What Prometheus reads of an edge; the hot path only adds to plain counters, labels are made when somebody looks. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { registerCertificates } from './certificate-metrics.ts'
import type { CertificateReport } from './certificates.ts'
import type { Exchange } from './exchange.ts'
import type { Passage } from './gate.ts'
import type { TableState } from './ops-listener.ts'
import type { TunnelBytes, TunnelKind } from './tunnel.ts'

/** Numbers that are read when somebody looks. */
export interface Gauges {
  readonly table: () => TableState
  readonly clientConnections: () => number
  readonly upstreamConnections: () => number
  readonly tunnels: (kind: TunnelKind) => number
  /** Through tunnels so far. */
  readonly tunnelBytes: () => Readonly<Record<TunnelKind, Readonly<TunnelBytes>>>
  readonly isDraining: () => number
  /** Requests that wait for VMs to wake, and how often a VM was asked to. */
  readonly wakes: () => { readonly held: number; readonly asked: number }
  /** Requests whose credential is being checked. */
  readonly undecided: () => number
  /** For how long word of revocations has not been known to be fresh; nothing is told where nobody knows. */
  readonly revocationAgeMs?: (() => number) | undefined
  readonly certificates: () => CertificateReport
}

export interface TlsHandshake {
  /** `ok`, or Node's error code. */
  readonly result: string
  readonly version?: string
  readonly seconds?: number
  readonly isResumed?: boolean
}

export interface Metrics {
  readonly registry: Registry
  countExchange(exchange: Exchange, durationSeconds: number): void
  countHandshake(handshake: TlsHandshake): void
  countBadRequest(code: string): void
  /** An open exchange was ended because its client may not have it any more. */
  countEnded(code: string): void
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120]
const TUNNEL_KINDS: readonly TunnelKind[] = ['websocket', 'connect']
/** Methods are the client's own text; what is not known would let it make labels without end. */
const METHODS: ReadonlySet<string> = new Set('GET HEAD POST PUT PATCH DELETE OPTIONS CONNECT'.split(' '))

/** Ready-made, since they are counted with every request. */
const PASSED: Readonly<Record<Passage['method'], string>> = {
  none: 'passed,none',
  cookie: 'passed,cookie',
  token: 'passed,token',
  self: 'passed,self',
  api: 'passed,api',
  link: 'passed,link',
}
const REASON = /^[a-z0-9-]{1,40}$/
const MAX_REASONS = 128

interface Described {
  readonly name: string
  readonly help: string
  readonly labelNames?: readonly string[]
}

/** Counts by a few labels, kept as one map entry each. */
class Tally {
  readonly counts = new Map<string, number>()

  add(key: string): void {
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1)
  }
}

export function createMetrics(gauges: Gauges): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  registerGauges(registry, gauges)
  registerTunnelBytes(registry, gauges)
  registerRefusals(registry, gauges)
  registerWakes(registry, gauges)
  registerAuth(registry, gauges)
  registerCertificates(registry, gauges.certificates)
  registerLag(registry)
  const counters = createCounters(registry)
  return {
    registry,
    countExchange: (exchange, durationSeconds) => countExchange(counters, exchange, durationSeconds),
    countHandshake({ result, version = '', seconds, isResumed = false }) {
      counters.handshakes.add(`${result},${version}`)
      if (isResumed) counters.resumed.inc()
      if (seconds !== undefined) counters.handshakeSeconds.observe(seconds)
    },
    countBadRequest: (code) => counters.errors.add(code),
    countEnded: (code) => counters.ended.add(code),
  }
}

type Counters = ReturnType<typeof createCounters>

function createCounters(registry: Registry) {
  const tally = (name: string, help: string, labelNames: readonly string[]) =>
    tallied(registry, { name, help, labelNames })
  const histogram = (name: string, help: string) =>
    new Histogram({ name, help, buckets: SECONDS, registers: [registry] })
  return {
    requests: tally('edge_http_requests_total', 'Requests by status, method and protocol', [
      'code',
      'method',
      'proto',
    ]),
    responses: tally('edge_upstream_responses_total', 'Responses of upstreams by status', ['code']),
    errors: tally('edge_errors_total', 'Errors by stable code', ['code']),
    decisions: tally(
      'edge_auth_decisions_total',
      'Requests that the gate let in, by how, or refused, by why',
      ['result', 'reason'],
    ),
    ended: tally('edge_streams_ended_total', 'Open exchanges that were ended by a change of access', [
      'reason',
    ]),
    handshakes: tally('edge_tls_handshakes_total', 'TLS handshakes', ['result', 'version']),
    resumed: new Counter({
      name: 'edge_tls_resumed_total',
      help: 'TLS handshakes that resumed a session',
      registers: [registry],
    }),
    handshakeSeconds: histogram(
      'edge_tls_handshake_seconds',
      'From the accepted connection to the end of the handshake',
    ),
    duration: histogram(
      'edge_http_request_duration_seconds',
      'From the request head to the end of the answer',
    ),
    connect: histogram('edge_upstream_connect_seconds', 'Time to connect to an upstream'),
    wake: histogram('edge_wake_hold_seconds', 'For how long requests waited for their VM to wake'),
  }
}

function countExchange(
  counters: Counters,
  { record, method, version }: Exchange,
  durationSeconds: number,
): void {
  const { status, upstreamConnectMs, upstreamFirstByteMs, errorCode, wakeMs, passage } = record
  counters.requests.add(
    `${status},${METHODS.has(method) ? method : 'other'},${version === '2' ? 'h2' : 'h1'}`,
  )
  counters.duration.observe(durationSeconds)
  if (upstreamConnectMs !== undefined) counters.connect.observe(upstreamConnectMs / 1_000)
  if (upstreamFirstByteMs !== undefined) counters.responses.add(String(status))
  if (errorCode !== undefined) counters.errors.add(errorCode)
  if (passage !== undefined) counters.decisions.add(PASSED[passage.method])
  else if (record.authReason !== undefined)
    counters.decisions.add(`refused,${boundedReason(counters, record.authReason)}`)
  if (wakeMs !== undefined) counters.wake.observe(wakeMs / 1_000)
}

/** Reasons are the gate's own words, but nothing here can make sure of that. */
function boundedReason({ decisions }: Counters, reason: string): string {
  const isKnown = decisions.counts.has(`refused,${reason}`)
  return isKnown || (REASON.test(reason) && decisions.counts.size < MAX_REASONS) ? reason : 'other'
}

function tallied(registry: Registry, { name, help, labelNames = [] }: Described): Tally {
  const tally = new Tally()
  new Counter({
    name,
    help,
    labelNames: [...labelNames],
    registers: [registry],
    collect() {
      this.reset()
      for (const [key, count] of tally.counts) {
        const values = key.split(',')
        this.inc(Object.fromEntries(labelNames.map((label, at) => [label, values[at] ?? ''])), count)
      }
    },
  })
  return tally
}

function registerGauges(registry: Registry, gauges: Gauges): void {
  const gauge = (name: string, help: string, read: () => number) =>
    labelled(registry, { name, help }, () => [[{}, read()]])
  const { table } = gauges
  gauge('landfall_table_rows', 'Routes in memory', () => table().rows)
  gauge('landfall_table_revision', 'Revision up to which the routes are known', () => table().revision)
  gauge(
    'landfall_table_age_seconds',
    'Time since the routes were last known to be fresh',
    () => table().ageSeconds,
  )
  gauge('landfall_table_held', '1 while the store lost its data and the routes are kept', () =>
    Number(table().held),
  )
  gauge('edge_drain_state', '1 while the edge is going away', gauges.isDraining)
  const sockets = { name: 'edge_sockets_open', help: 'Open connections', labelNames: ['side'] }
  labelled(registry, sockets, () => [
    [{ side: 'client' }, gauges.clientConnections()],
    [{ side: 'upstream' }, gauges.upstreamConnections()],
  ])
  const tunnels = { name: 'edge_tunnels_open', help: 'Open tunnels', labelNames: ['kind'] }
  labelled(registry, tunnels, () => TUNNEL_KINDS.map((kind) => [{ kind }, gauges.tunnels(kind)]))
}

function labelled(
  registry: Registry,
  described: Described,
  read: () => [Record<string, string>, number][],
): void {
  const { name, help, labelNames = [] } = described
  new Gauge({
    name,
    help,
    labelNames: [...labelNames],
    registers: [registry],
    collect() {
      for (const [labels, value] of read()) this.set(labels, value)
    },
  })
}

function registerTunnelBytes(registry: Registry, { tunnelBytes }: Gauges): void {
  new Counter({
    name: 'edge_tunnel_bytes_total',
    help: 'Bytes through tunnels, from clients (in) and to them (out)',
    labelNames: ['kind', 'dir'],
    registers: [registry],
    collect() {
      this.reset()
      for (const kind of TUNNEL_KINDS) {
        this.inc({ kind, dir: 'in' }, tunnelBytes()[kind].in)
        this.inc({ kind, dir: 'out' }, tunnelBytes()[kind].out)
      }
    },
  })
}

function registerRefusals(registry: Registry, { table }: Gauges): void {
  new Counter({
    name: 'landfall_table_refused_total',
    help: 'Records that the route table refused',
    registers: [registry],
    collect() {
      this.reset()
      this.inc(table().refused)
    },
  })
}

function registerWakes(registry: Registry, { wakes }: Gauges): void {
  const held = { name: 'edge_wake_holds', help: 'Requests that wait for their VM to wake' }
  labelled(registry, held, () => [[{}, wakes().held]])
  new Counter({
    name: 'edge_wakes_asked_total',
    help: 'How often a host was asked to wake a VM',
    registers: [registry],
    collect() {
      this.reset()
      this.inc(wakes().asked)
    },
  })
}

function registerAuth(registry: Registry, { undecided, revocationAgeMs }: Gauges): void {
  const held = { name: 'edge_auth_decision_holds', help: 'Requests whose credential is being checked' }
  labelled(registry, held, () => [[{}, undecided()]])
  if (revocationAgeMs === undefined) return
  const age = {
    name: 'edge_revocation_age_seconds',
    help: 'Time since the revocations were last known to be fresh',
  }
  labelled(registry, age, () => [[{}, revocationAgeMs() / 1_000]])
}

/** How long a turn of the event loop takes at the moment of looking. */
function registerLag(registry: Registry): void {
  new Gauge({
    name: 'edge_event_loop_lag_seconds',
    help: 'Wait for the next turn of the event loop',
    registers: [registry],
    async collect() {
      const askedAt = performance.now()
      await nextTurn()
      this.set((performance.now() - askedAt) / 1_000)
    },
  })
}
