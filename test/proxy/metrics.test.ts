/** The metrics of an edge: what is counted, under which names, and that no client can make labels without end. */

import t from 'tap'
import { createMetrics, type Gauges } from '../../proxy/metrics.ts'
import type { TableState } from '../../proxy/ops-listener.ts'
import { EMPTY_REPORT } from '../helpers/quiet-certificates.ts'
import { type FakeRequest, fakeExchange } from './fake-exchange.ts'

const TABLE = { source: 'store', revision: 17, rows: 3, ageSeconds: 0.5, refused: 2, held: true } as const

const GAUGES: Gauges = {
  table: () => TABLE,
  clientConnections: () => 4,
  upstreamConnections: () => 5,
  tunnels: (kind) => (kind === 'connect' ? 6 : 2),
  tunnelBytes: () => ({ websocket: { in: 0, out: 0 }, connect: { in: 1, out: 2 } }),
  isDraining: () => 0,
  wakes: () => ({ held: 3, asked: 7 }),
  undecided: () => 8,
  revocationAgeMs: () => 1_500,
  certificates: () => EMPTY_REPORT,
}

function metricsOf(...requests: (FakeRequest & { readonly seconds?: number })[]) {
  const metrics = createMetrics(GAUGES)
  for (const request of requests) metrics.countExchange(fakeExchange(request), request.seconds ?? 0.01)
  return metrics
}

/** The lines of one metric. */
async function read({ registry }: ReturnType<typeof metricsOf>, name: string): Promise<string[]> {
  const lines = (await registry.metrics()).split('\n')
  return lines.filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
}

const OK: FakeRequest = { record: { status: 200 } }

t.test('counts requests by status, method and protocol', async (t) => {
  const metrics = metricsOf(
    OK,
    OK,
    { ...OK, version: '2' },
    { ...OK, version: '1.0' },
    { record: { status: 502 } },
    {
      ...OK,
      method: 'POST',
    },
  )
  t.same((await read(metrics, 'edge_http_requests_total')).sort(), [
    'edge_http_requests_total{code="200",method="GET",proto="h1"} 3',
    'edge_http_requests_total{code="200",method="GET",proto="h2"} 1',
    'edge_http_requests_total{code="200",method="POST",proto="h1"} 1',
    'edge_http_requests_total{code="502",method="GET",proto="h1"} 1',
  ])
})

t.test('counts the same however often somebody looks', async (t) => {
  const metrics = metricsOf(OK)
  await metrics.registry.metrics()
  t.same(await read(metrics, 'edge_http_requests_total'), [
    'edge_http_requests_total{code="200",method="GET",proto="h1"} 1',
  ])
})

t.test('puts all methods that a client makes up under one label', async (t) => {
  const methods = Array.from({ length: 1_000 }, (_, at) => `X${at}`)
  const odd = ['get', 'GET ', '', '__proto__', 'constructor', 'a,b', 'a"b', 'a\nb', 'PROPFIND']
  const metrics = metricsOf(...[...methods, ...odd].map((method) => ({ ...OK, method })))
  t.same(await read(metrics, 'edge_http_requests_total'), [
    'edge_http_requests_total{code="200",method="other",proto="h1"} 1009',
  ])
})

t.test('has no label for hosts, paths or addresses', async (t) => {
  const hosts = Array.from({ length: 50 }, (_, at) => ({
    ...OK,
    host: `h${at}.test`,
    target: `/p${at}`,
    client: { address: `192.0.2.${at}` },
  }))
  const text = await metricsOf(...hosts).registry.metrics()
  t.notMatch(text, /h7\.test|\/p7|192\.0\.2/)
})

t.test('counts errors by code, those of bytes that were no request included', async (t) => {
  const metrics = metricsOf({ record: { status: 404, errorCode: 'route_unknown' } }, OK)
  metrics.countBadRequest('request_syntax')
  metrics.countBadRequest('request_syntax')
  t.same((await read(metrics, 'edge_errors_total')).sort(), [
    'edge_errors_total{code="request_syntax"} 2',
    'edge_errors_total{code="route_unknown"} 1',
  ])
})

t.test('counts TLS handshakes by result and version', async (t) => {
  const metrics = metricsOf()
  metrics.countHandshake({ result: 'ok', version: 'TLSv1.3', seconds: 0.02 })
  metrics.countHandshake({ result: 'ok', version: 'TLSv1.3', seconds: 0.02 })
  metrics.countHandshake({ result: 'ECONNRESET' })
  t.same((await read(metrics, 'edge_tls_handshakes_total')).sort(), [
    'edge_tls_handshakes_total{result="ECONNRESET",version=""} 1',
    'edge_tls_handshakes_total{result="ok",version="TLSv1.3"} 2',
  ])
})

t.test('measures durations, and connecting only where there was a connection to make', async (t) => {
  const metrics = metricsOf(
    { ...OK, seconds: 0.02 },
    { record: { status: 200, upstreamConnectMs: 30 }, seconds: 3 },
  )
  t.same(await read(metrics, 'edge_http_request_duration_seconds_count'), [
    'edge_http_request_duration_seconds_count 2',
  ])
  t.same(await read(metrics, 'edge_http_request_duration_seconds_sum'), [
    'edge_http_request_duration_seconds_sum 3.02',
  ])
  t.same(await read(metrics, 'edge_upstream_connect_seconds_sum'), ['edge_upstream_connect_seconds_sum 0.03'])
  const buckets = await read(metrics, 'edge_http_request_duration_seconds_bucket')
  t.ok(buckets.includes('edge_http_request_duration_seconds_bucket{le="0.025"} 1'), 'in seconds')
})

t.test('says who waits for a VM to wake, how often one was asked for, and how long that took', async (t) => {
  const metrics = metricsOf(
    OK,
    { record: { status: 200, wakeMs: 250 } },
    { record: { status: 504, wakeMs: 30_000 } },
  )
  t.same(await read(metrics, 'edge_wake_holds'), ['edge_wake_holds 3'])
  t.same(await read(metrics, 'edge_wakes_asked_total'), ['edge_wakes_asked_total 7'])
  t.same(await read(metrics, 'edge_wake_hold_seconds_count'), ['edge_wake_hold_seconds_count 2'])
  t.same(await read(metrics, 'edge_wake_hold_seconds_sum'), ['edge_wake_hold_seconds_sum 30.25'])
})

t.test('reads the gauges at the moment when somebody looks', async (t) => {
  let table: TableState = TABLE
  const { registry } = createMetrics({ ...GAUGES, table: () => table, isDraining: () => 1 })
  const lines = async () =>
    (await registry.metrics()).split('\n').filter((line) => /^(landfall|edge_drain)/.test(line))
  t.same(await lines(), [
    'landfall_table_rows 3',
    'landfall_table_revision 17',
    'landfall_table_age_seconds 0.5',
    'landfall_table_held 1',
    'edge_drain_state 1',
    'landfall_table_refused_total 2',
  ])
  table = { ...TABLE, rows: 4, ageSeconds: Number.POSITIVE_INFINITY, refused: 5, held: false }
  t.match(await lines(), [
    'landfall_table_rows 4',
    /revision 17/,
    'landfall_table_age_seconds +Inf',
    'landfall_table_held 0',
    /drain/,
    'landfall_table_refused_total 5',
  ])
})

/** The promised metrics whose parts exist: no Redis or BGP yet. */
const NAMES: readonly (readonly [name: string, type: string])[] = [
  ['edge_http_requests_total', 'counter'],
  ['edge_http_request_duration_seconds', 'histogram'],
  ['edge_upstream_connect_seconds', 'histogram'],
  ['edge_upstream_responses_total', 'counter'],
  ['edge_errors_total', 'counter'],
  ['edge_tls_handshakes_total', 'counter'],
  ['edge_tls_handshake_seconds', 'histogram'],
  ['edge_tls_resumed_total', 'counter'],
  ['edge_cert_not_after_seconds', 'gauge'],
  ['edge_cert_known', 'gauge'],
  ['edge_cert_contexts', 'gauge'],
  ['edge_cert_orders_total', 'counter'],
  ['edge_cert_orders_open', 'gauge'],
  ['edge_cert_orders_failed', 'gauge'],
  ['edge_acme_rate_budget_remaining', 'gauge'],
  ['edge_ari_window_start_seconds', 'gauge'],
  ['edge_tunnels_open', 'gauge'],
  ['edge_tunnel_bytes_total', 'counter'],
  ['edge_wake_holds', 'gauge'],
  ['edge_wakes_asked_total', 'counter'],
  ['edge_wake_hold_seconds', 'histogram'],
  ['edge_auth_decisions_total', 'counter'],
  ['edge_auth_decision_holds', 'gauge'],
  ['edge_streams_ended_total', 'counter'],
  ['edge_revocation_age_seconds', 'gauge'],
  ['landfall_table_rows', 'gauge'],
  ['landfall_table_revision', 'gauge'],
  ['landfall_table_age_seconds', 'gauge'],
  ['landfall_table_held', 'gauge'],
  ['landfall_table_refused_total', 'counter'],
  ['edge_drain_state', 'gauge'],
  ['edge_event_loop_lag_seconds', 'gauge'],
  ['edge_sockets_open', 'gauge'],
]

t.test('has the promised names', async (t) => {
  const text = await metricsOf(OK).registry.metrics()
  for (const [name, type] of NAMES) t.ok(text.includes(`\n# TYPE ${name} ${type}\n`), `${name}, a ${type}`)
})

t.test('tells client sockets from upstream sockets, and WebSockets from other tunnels', async (t) => {
  const text = await metricsOf().registry.metrics()
  for (const line of [
    'edge_sockets_open{side="client"} 4',
    'edge_sockets_open{side="upstream"} 5',
    'edge_tunnels_open{kind="websocket"} 2',
    'edge_tunnels_open{kind="connect"} 6',
  ])
    t.ok(text.includes(`\n${line}\n`), line)
})

t.test('counts what the gate decided, and no words without end', async (t) => {
  const passage = {
    lines: '',
    takes: { authorization: false, proof: false },
    subject: 'ada',
    method: 'link',
  } as const
  const metrics = metricsOf(
    { record: { passage } },
    { record: { passage: { ...passage, method: 'none' }, authReason: 'ended later' } },
    { record: { authReason: 'expired' } },
    { record: { authReason: 'no word of the gate: "' } },
    {},
    ...Array.from({ length: 300 }, (_, at) => ({ record: { authReason: `reason-${at}` } })),
  )
  const lines = await read(metrics, 'edge_auth_decisions_total')
  t.ok(lines.length <= 129, `${lines.length} lines`)
  for (const line of ['passed",reason="link"} 1', 'passed",reason="none"} 1', 'refused",reason="expired"} 1'])
    t.ok(lines.includes(`edge_auth_decisions_total{result="${line}`), line)
  t.match(
    lines.find((line) => line.includes('"other"')),
    /reason="other"\} 1\d\d$/,
  )
})

t.test('tells for how long word of revocations is not fresh, where somebody knows', async (t) => {
  t.same(await read(metricsOf(), 'edge_revocation_age_seconds'), ['edge_revocation_age_seconds 1.5'])
  t.same(await read(metricsOf(), 'edge_auth_decision_holds'), ['edge_auth_decision_holds 8'])
  const { registry } = createMetrics({ ...GAUGES, revocationAgeMs: undefined })
  t.notMatch(await registry.metrics(), 'edge_revocation_age_seconds')
})

t.test('counts resumed handshakes', async (t) => {
  const metrics = metricsOf()
  for (const isResumed of [true, false, true]) metrics.countHandshake({ result: 'ok', isResumed })
  t.same(await read(metrics, 'edge_tls_resumed_total'), ['edge_tls_resumed_total 2'])
})

t.test('counts what was ended', async (t) => {
  const metrics = metricsOf()
  metrics.countEnded('auth_forbidden')
  t.same(await read(metrics, 'edge_streams_ended_total'), [
    'edge_streams_ended_total{reason="auth_forbidden"} 1',
  ])
})
