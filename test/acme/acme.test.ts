/** What certificates are put together of, without an authority: what metrics are told, and what an edge alone need not wait for. */

import { Resolver } from 'node:dns/promises'
import t, { type Test } from 'tap'
import { type AcmeSettings, startAcme } from '../../acme/acme.ts'
import { loadLocalCa } from '../../acme/local-ca.ts'
import { loadConfig } from '../../config.ts'
import { startEdge } from '../../edge.ts'
import { createBooks } from '../../routing/certificates/books.ts'
import { startCertificateTable } from '../../routing/certificates/certificate-table.ts'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import { QUIET_LOG } from '../helpers/quiet-log.ts'
import { dig } from '../helpers/responder-scene.ts'
import { SEALER } from '../helpers/sealer.ts'
import { until } from '../helpers/until.ts'

const DOMAIN = 'fall.test'
const LIMITS = { domain: 1, set: 1, account: 1, failures: 1 }
const ACME: AcmeSettings['acme'] = {
  ...{ cas: [], contact: '', eabFile: '', caFile: '', profiles: [], challenges: [] },
  ...{ agree: 'no', keys: 'ec', limits: LIMITS, contexts: 10, ticketHours: 1 },
}
const DNS = { addresses: [], names: [], updateServer: undefined, updateZone: '', updateKeyFile: '' } as const

async function acmeFor(t: Test, listen: { readonly host: string; readonly port: number } | undefined) {
  const started = new AsyncDisposableStack()
  t.teardown(() => started.disposeAsync())
  const store = started.use(await startMemoryStore())
  const log = QUIET_LOG
  const table = started.use(await startCertificateTable({ store, log }))
  const deps = {
    ...{ table, books: createBooks({ store, log }), localCa: await loadLocalCa(t.testdir()), log },
    ...{ sealer: SEALER, resolver: new Resolver(), isServed: () => false, isWanted: () => false },
  }
  const settings = { domain: DOMAIN, headersMs: 1_000, acme: ACME, dns: { ...DNS, listen } }
  return started.use(await startAcme(deps, settings))
}

t.test('counts the queries that the DNS responder has answered', async (t) => {
  const { serving, dnsPort } = await acmeFor(t, { host: '127.0.0.1', port: 0 })
  t.match(await dig(dnsPort, `acme.${DOMAIN}`, 'SOA'), /NOERROR/)
  t.match(await dig(dnsPort, `none.acme.${DOMAIN}`, 'TXT', '+tcp'), /NXDOMAIN/)
  t.same(
    [...serving.report().dns],
    [
      ['answered', 1],
      ['answered_tcp', 1],
      ['truncated', 0],
      ['dropped', 0],
    ],
  )
})

t.test('counts no queries where there is no DNS responder', async (t) => {
  const { serving, dnsPort } = await acmeFor(t, undefined)
  t.equal(dnsPort, 0)
  t.same([...serving.report().dns], [])
})

t.test('an edge that is alone with its store takes up what it did before it was killed', async (t) => {
  const store = await startMemoryStore()
  const earlier = await store.acquireLease('hold/renewals', 'an-earlier-process', 600_000)
  const ports = { LANDFALL_HTTPS_PORT: '0', LANDFALL_HTTP_PORT: '0', LANDFALL_OPS_PORT: '0' }
  // Nobody is there; who does the renewals is settled before an authority is asked.
  const ca = { LANDFALL_ACME_CAS: 'https://127.0.0.1:1/directory', LANDFALL_ACME_AGREE: 'yes' }
  const config = loadConfig({
    ...{ LANDFALL_DATA: t.testdir(), LANDFALL_DRAIN_TIMEOUT_MS: '0' },
    ...{ ...ports, ...ca },
  })
  const edge = await startEdge(config, { store, log: QUIET_LOG, accessLog: { write() {} } })
  t.teardown(async () => {
    await edge[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
  })
  const holder = async () => (await store.findLease('hold/renewals'))?.token ?? 0
  await until(async () => (await holder()) > (earlier?.token ?? 0), 'it holds the renewals')
})
