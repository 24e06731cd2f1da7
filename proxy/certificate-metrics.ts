/** What Prometheus reads of certificates, out of one report that is made when somebody looks. */

import { Counter, Gauge, type Registry } from 'prom-client'
import type { CertificateReport } from './certificates.ts'

type Find = () => CertificateReport
type Sample = readonly [labels: Record<string, string>, value: number | undefined]

interface Described {
  readonly name: string
  readonly help: string
  readonly labelNames?: readonly string[]
}

/** CAs and limits are settings, so there are few; the rest is a guard. */
const MAX_SERIES = 100

export function registerCertificates(registry: Registry, report: Find): void {
  const find = oncePerTurn(report)
  registerHeld(registry, find)
  registerOrders(registry, find)
  registerDns(registry, find)
}

/** A report counts many rows, and all metrics are read in one turn. */
function oncePerTurn(report: Find): Find {
  let held: CertificateReport | undefined
  const forget = () => {
    held = undefined
  }
  return () => {
    if (held === undefined) setImmediate(forget)
    held ??= report()
    return held
  }
}

function registerHeld(registry: Registry, find: Find): void {
  const notAfter = {
    name: 'edge_cert_not_after_seconds',
    help: 'Unix time at which the platform certificate ends, and the custom one that ends first',
    labelNames: ['kind'],
  }
  register(registry, notAfter, find, ({ notAfter: { platform, custom } }) => [
    [{ kind: 'platform' }, platform],
    [{ kind: 'custom' }, custom],
  ])
  const known = { name: 'edge_cert_known', help: 'Certificates in the table' }
  register(registry, known, find, (report) => [[{}, report.known]])
  const age = {
    name: 'edge_cert_table_age_seconds',
    help: 'For how long the certificate table has not been known to be fresh',
  }
  register(registry, age, find, (report) => [[{}, report.ageSeconds]])
  const contexts = { name: 'edge_cert_contexts', help: 'Certificates ready for handshakes' }
  register(registry, contexts, find, (report) => [[{}, report.contexts]])
  const window = {
    name: 'edge_ari_window_start_seconds',
    help: 'Unix time at which the earliest renewal window of a CA begins',
  }
  register(registry, window, find, (report) => [[{}, report.ariWindowStart]])
}

function registerOrders(registry: Registry, find: Find): void {
  const open = { name: 'edge_cert_orders_open', help: 'Orders of the fleet under way or waiting' }
  register(registry, open, find, (report) => [[{}, report.open]])
  const failed = { name: 'edge_cert_orders_failed', help: 'Orders that failed and wait for their next try' }
  register(registry, failed, find, (report) => [[{}, report.failed]])
  const budget = {
    name: 'edge_acme_rate_budget_remaining',
    help: 'What is left of the budgets that count for all names',
    labelNames: ['limit'],
  }
  register(registry, budget, find, (report) => [...report.budget].map(([limit, left]) => [{ limit }, left]))
  new Counter({
    name: 'edge_cert_orders_total',
    help: 'Orders that ended on this edge, by host of the CA and result',
    labelNames: ['ca', 'result'],
    registers: [registry],
    collect() {
      this.reset()
      for (const [key, count] of [...find().orders].slice(0, MAX_SERIES)) {
        const comma = key.lastIndexOf(',')
        this.inc({ ca: key.slice(0, comma), result: key.slice(comma + 1) }, count)
      }
    },
  })
}

function registerDns(registry: Registry, find: Find): void {
  new Counter({
    name: 'edge_dns_queries_total',
    help: 'DNS queries to this edge, by what became of them: answered, answered_tcp, truncated, dropped',
    labelNames: ['result'],
    registers: [registry],
    collect() {
      this.reset()
      for (const [result, count] of find().dns) this.inc({ result }, count)
    },
  })
}

/** A value that is not known is left out. */
function register(
  registry: Registry,
  { name, help, labelNames = [] }: Described,
  ...[find, read]: [Find, (report: CertificateReport) => readonly Sample[]]
): void {
  new Gauge({
    name,
    help,
    labelNames: [...labelNames],
    registers: [registry],
    collect() {
      this.reset()
      // Without labels a reset leaves a zero, which would be a wrong moment.
      if (labelNames.length === 0) this.remove()
      for (const [labels, value] of read(find()).slice(0, MAX_SERIES))
        if (value !== undefined) this.set(labels, value)
    },
  })
}
