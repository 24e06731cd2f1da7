/** What the metrics say of certificates: all out of one report, only what is known, and no labels without end. */

import { Registry } from 'prom-client'
import t from 'tap'
import { registerCertificates } from '../../proxy/certificate-metrics.ts'

const REPORT = {
  notAfter: { platform: 1_800_000_000, custom: undefined },
  known: 100_000,
  ageSeconds: Number.POSITIVE_INFINITY,
  contexts: 5_000,
  orders: new Map([
    ['ca.example,ok', 7],
    ['[::1],8443,failed', 1],
  ]),
  open: 3,
  failed: 2,
  budget: new Map([['account', 239]]),
  ariWindowStart: undefined,
  dns: new Map([
    ['answered', 12],
    ['dropped', 0],
  ]),
}

const CERTIFICATE_LINES = [
  'edge_cert_not_after_seconds{kind="platform"} 1800000000',
  'edge_cert_known 100000',
  'edge_cert_table_age_seconds +Inf',
  'edge_cert_contexts 5000',
  'edge_cert_orders_open 3',
  'edge_cert_orders_failed 2',
  'edge_acme_rate_budget_remaining{limit="account"} 239',
  'edge_dns_queries_total{result="answered"} 12',
  'edge_dns_queries_total{result="dropped"} 0',
  'edge_cert_orders_total{ca="ca.example",result="ok"} 7',
  'edge_cert_orders_total{ca="[::1],8443",result="failed"} 1',
]

t.test(
  'tells what is reported of certificates, out of one report, and no moment that is unknown',
  async (t) => {
    let reports = 0
    const certificates = () => {
      reports += 1
      return REPORT
    }
    const registry = new Registry()
    registerCertificates(registry, certificates)
    for (let look = 1; look <= 2; look += 1) {
      const text = await registry.metrics()
      const lines = text.split('\n').filter((line) => /^edge_(?:cert|acme|ari|dns)_/.test(line))
      t.same(lines.sort(), CERTIFICATE_LINES.toSorted())
      t.equal(reports, look)
      await new Promise(setImmediate)
    }
  },
)

t.test('tells nothing of DNS where no queries are answered', async (t) => {
  const registry = new Registry()
  registerCertificates(registry, () => ({ ...REPORT, dns: new Map() }))
  t.notMatch(await registry.metrics(), /^edge_dns_/m)
})

t.test('tells no labels without end', async (t) => {
  const many = new Map(Array.from({ length: 500 }, (_, at) => [`ca${at},ok`, 1]))
  const registry = new Registry()
  registerCertificates(registry, () => ({ ...REPORT, orders: many, budget: many }))
  const text = await registry.metrics()
  t.ok([...text.matchAll(/^edge_(?:cert_orders_total|acme)/gm)].length <= 200)
})
