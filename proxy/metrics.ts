/** What Prometheus reads of an edge; the hot path only adds to plain counters, labels are made when somebody looks. */

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Exchange } from './exchange.ts'

/** Numbers that are read when somebody looks. */
export interface Gauges {
  readonly routes: () => number
  readonly routesRevision: () => number
  readonly routesAgeSeconds: () => number
  readonly clientConnections: () => number
  readonly upstreamConnections: () => number
  readonly tunnels: () => number
  readonly isDraining: () => number
}

export interface Metrics {
  readonly registry: Registry
  countExchange(exchange: Exchange, durationSeconds: number): void
  countHandshake(result: string, version?: string): void
  countBadRequest(code: string): void
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120]
/** Methods are the client's own text; what is not known would let it make labels without end. */
const METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'CONNECT',
])

type NameAndHelp = readonly [name: string, help: string]

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
  const requests = tallied(
    registry,
    ['edge_http_requests_total', 'Requests by status, method and protocol'],
    ['code', 'method', 'proto'],
  )
  const errors = tallied(registry, ['edge_errors_total', 'Errors by stable code'], ['code'])
  const handshakes = tallied(registry, ['edge_tls_handshakes_total', 'TLS handshakes'], ['result', 'version'])
  const duration = histogram(registry, [
    'edge_http_request_duration_seconds',
    'From the request head to the end of the answer',
  ])
  const connect = histogram(registry, ['edge_upstream_connect_seconds', 'Time to connect to an upstream'])
  registerGauges(registry, gauges)
  return {
    registry,
    countExchange({ record, method, version }, durationSeconds) {
      requests.add(
        `${record.status},${METHODS.has(method) ? method : 'other'},${version === '2' ? 'h2' : 'h1'}`,
      )
      duration.observe(durationSeconds)
      if (record.upstreamConnectMs !== undefined) connect.observe(record.upstreamConnectMs / 1_000)
      if (record.errorCode !== undefined) errors.add(record.errorCode)
    },
    countHandshake: (result, version = '') => handshakes.add(`${result},${version}`),
    countBadRequest: (code) => errors.add(code),
  }
}

function tallied(registry: Registry, [name, help]: NameAndHelp, labelNames: readonly string[]): Tally {
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

function histogram(registry: Registry, [name, help]: NameAndHelp): Histogram {
  return new Histogram({ name, help, buckets: SECONDS, registers: [registry] })
}

function registerGauges(registry: Registry, gauges: Gauges): void {
  gauge(registry, ['edge_routes', 'Routes in memory'], gauges.routes)
  gauge(registry, ['edge_routes_revision', 'Revision of the newest route in memory'], gauges.routesRevision)
  gauge(
    registry,
    ['edge_routes_age_seconds', 'Time since the route table last heard from the store'],
    gauges.routesAgeSeconds,
  )
  gauge(registry, ['edge_client_connections', 'Open client connections'], gauges.clientConnections)
  gauge(registry, ['edge_upstream_connections', 'Open upstream connections'], gauges.upstreamConnections)
  gauge(registry, ['edge_tunnels_open', 'Open WebSockets'], gauges.tunnels)
  gauge(registry, ['edge_drain_state', '1 while the edge is going away'], gauges.isDraining)
}

function gauge(registry: Registry, [name, help]: NameAndHelp, read: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(read())
    },
  })
}
