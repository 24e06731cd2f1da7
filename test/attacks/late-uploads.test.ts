/** Attacks by uploads of certificates that take so long that the domain is somebody else's when they are done. */

import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { createDesk } from '../../acme/desk/desk.ts'
import { createSealer } from '../../lib/seal.ts'
import type { CertificateDesk } from '../../routing/api/certificate-desk.ts'
import { createBooks } from '../../routing/certificates/books.ts'
import { startCertificateTable } from '../../routing/certificates/certificate-table.ts'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import { createListLog } from '../helpers/list-log.ts'
import { mintChain, NOW } from '../helpers/minted.ts'
import { dnsServerFor } from '../helpers/scripted-dns.ts'
import { vmApiFor } from '../routing/api/vm-client.ts'

const HOSTNAME = 'www.shop.example'
const DOMAIN = `/v1/domains/${HOSTNAME}`
const CERTIFICATE = `/v1/certificates/${HOSTNAME}`

/** An API with a real desk; `www.shop.example` is a proven domain of the pool `web`. */
async function shopFor(t: Test) {
  const store = await startMemoryStore()
  const log = createListLog()
  const books = createBooks({ store, log }, { now: () => NOW })
  const table = await startCertificateTable({ store, log }, {})
  t.teardown(() => table[Symbol.asyncDispose]())
  const desk = createDesk(
    {
      ...{ table, books, cas: [], sealer: createSealer(randomBytes(32)), isServed: () => true },
      checks: { check: async () => ({ steps: [], types: [] }) },
      orders: { want: async () => {} },
    },
    {
      ...{ domain: 'example.test', keyTypes: ['ec'], challengeTypes: ['http-01'] },
      limits: { domain: 40, set: 4, account: 240, failures: 4 },
      now: () => NOW,
    },
  )
  // Stands for a PKCS#12 file: who wrote it chooses how long it takes.
  const started = Promise.withResolvers<void>()
  const opened = Promise.withResolvers<void>()
  const certificates: CertificateDesk = {
    view: (hostname) => desk.view(hostname),
    check: (hostname, signal) => desk.check(hostname, signal),
    remove: (hostname, note) => desk.remove(hostname, note),
    renew: (hostname, note) => desk.renew(hostname, note),
    upload: async (...args) => {
      started.resolve()
      await opened.promise
      return desk.upload(...args)
    },
  }
  const { resolver } = await dnsServerFor(t, [[HOSTNAME, { cname: 'a.example.test' }]])
  const client = await vmApiFor(t, { dns: resolver, certificates, store })
  const { call, web } = client
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  await call('PUT', '/v1/vms/b', { body: { pool: 'lab' } })
  await call('PUT', DOMAIN, { body: { vm: 'a' }, token: web })
  await call('POST', `${DOMAIN}/check`, { token: web })
  const { leaf, intermediate } = await mintChain({ names: [HOSTNAME] })
  const body = { certificate: leaf.pem + intermediate.pem, key: leaf.keyPem }
  const upload = async () => {
    const answer = call('PUT', CERTIFICATE, { token: web, body })
    await started.promise
    return answer
  }
  return { ...client, books, upload, open: opened.resolve, started: started.promise }
}

for (const [what, takeAway] of [
  ['its domain was given back', 'domain'],
  ['its VM was deleted', 'vm'],
] as const)
  t.test(`an upload does not land after ${what}`, async (t) => {
    const { call, upload, open, started, books, store, web } = await shopFor(t)
    const answer = upload()
    await started
    const path = takeAway === 'vm' ? '/v1/vms/a' : DOMAIN
    t.equal((await call('DELETE', path, { token: web })).status, 204)
    t.equal((await call('PUT', DOMAIN, { body: { vm: 'b', proof: 'operator' } })).status, 201)
    open()
    t.match(await answer, { status: 412, json: { code: 'api_revision_conflict' } })
    t.equal(await books.certificates.find(HOSTNAME, 'ec'), undefined)
    t.match((await store.get(`domain/${HOSTNAME}`))?.value, { vm: 'b' })
  })

t.test('one that takes long and changes no hands does land', async (t) => {
  const { upload, open, started, books } = await shopFor(t)
  const answer = upload()
  await started
  open()
  t.equal((await answer).status, 200)
  t.equal((await books.certificates.find(HOSTNAME, 'ec'))?.row.source, 'upload')
})

t.test('one that lands while the domain is given back goes with it', async (t) => {
  const { call, upload, open, books, store, web } = await shopFor(t)
  open()
  const { commit } = store
  let uploaded: number | undefined
  // Between what the deletion has read and its commit.
  store.commit = async (mutations) => {
    store.commit = commit
    uploaded = (await upload()).status
    return commit.call(store, mutations)
  }
  t.equal((await call('DELETE', DOMAIN, { token: web })).status, 204)
  t.equal(uploaded, 200)
  t.equal(await books.certificates.find(HOSTNAME, 'ec'), undefined)
})
