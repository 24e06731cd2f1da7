/** Certificates through the admin API: who may, what is written down of it, and that keys never are. */

import t from 'tap'
import { createFakeDesk } from '../../helpers/certificate-desk.ts'
import { dnsServerFor } from '../../helpers/scripted-dns.ts'
import { vmApiFor } from './vm-client.ts'

const SHOP = '/v1/certificates/www.shop.example'
const PEM = { certificate: 'CHAIN-OF-THE-SHOP', key: 'SECRET-KEY-OF-THE-SHOP' }

/** `www.shop.example` is a proven domain of the pool `web`. */
async function shopFor(t: Parameters<typeof vmApiFor>[0]) {
  const { resolver } = await dnsServerFor(t, [['www.shop.example', { cname: 'a.example.test' }]])
  const certificates = createFakeDesk()
  const client = await vmApiFor(t, { dns: resolver, certificates })
  await client.call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  await client.call('PUT', '/v1/domains/www.shop.example', { body: { vm: 'a' } })
  const prove = () => client.call('POST', '/v1/domains/www.shop.example/check')
  return { ...client, certificates, prove, asked: certificates.asked }
}

t.test('a certificate is shown, looked at anew, uploaded, removed and renewed', async (t) => {
  const { call, prove, asked, certificates, web } = await shopFor(t)
  await prove()
  t.match(await call('GET', SHOP, { token: web }), { status: 200, json: { state: 'none', certificates: [] } })
  t.equal((await call('GET', `${SHOP}?check=true`, { token: web })).status, 200)
  t.equal((await call('GET', `${SHOP}?check=false`, { token: web })).status, 200)
  t.equal((await call('GET', `${SHOP}?check=maybe`, { token: web })).status, 400)
  t.match(await call('PUT', SHOP, { token: web, body: PEM }), { status: 200, json: { state: 'served' } })
  t.same(certificates.uploads.get('www.shop.example'), PEM)
  t.match(await call('POST', `${SHOP}/renew`, { token: web }), { status: 200 })
  t.equal((await call('DELETE', SHOP, { token: web })).status, 204)
  t.match(await call('DELETE', SHOP, { token: web }), { status: 404, json: { code: 'api_not_found' } })
  const verbs = asked.map((line) => line.split(' ')[0])
  t.same(verbs, ['view', 'check', 'view', 'upload', 'renew', 'remove', 'remove'])
  t.equal((await call('GET', '/v1/certificates/WWW.Shop.Example.', { token: web })).status, 200)
  t.equal(asked.at(-1), 'view www.shop.example')
})

t.test('PKCS#12 comes with a passphrase, PEM without', async (t) => {
  const { call, prove, certificates } = await shopFor(t)
  await prove()
  const pkcs12 = { pkcs12: 'AAAA', passphrase: 'open sesame' }
  t.equal((await call('PUT', SHOP, { body: pkcs12 })).status, 200)
  t.same(certificates.uploads.get('www.shop.example'), pkcs12)
  for (const [field, body] of [
    ['/certificate', {}],
    ['/key', { certificate: 'x' }],
    ['/certificate', { key: 'x' }],
    ['/certificate', { ...pkcs12, ...PEM }],
    ['/key', { pkcs12: 'x', key: 'x' }],
    ['/passphrase', { ...PEM, passphrase: 'x' }],
    ['/key', { ...PEM, key: 1 }],
    ['/chain', { ...PEM, chain: 'x' }],
    ['/key', { ...PEM, key: 'k'.repeat(16_385) }],
    ['/certificate', { ...PEM, certificate: 'c'.repeat(65_537) }],
  ] as const) {
    const answer = await call('PUT', SHOP, { body })
    t.match(answer, { status: 422, json: { field } }, field)
    t.notMatch(answer.text, /kkkk|SECRET/)
  }
  t.equal((await call('PUT', SHOP, { body: { ...PEM, key: 'k'.repeat(140_000) } })).status, 413)
})

t.test('a tenant has one PKCS#12 file read at a time, and PEM beside it', async (t) => {
  const { call, prove, certificates, web } = await shopFor(t)
  await prove()
  const { upload } = certificates
  const gate = Promise.withResolvers<void>()
  certificates.upload = async (hostname, sent, right) => {
    if ('pkcs12' in sent) await gate.promise
    return upload(hostname, sent, right)
  }
  const body = { pkcs12: 'AAAA' }
  const puts = [1, 2, 3].map(() => call('PUT', SHOP, { token: web, body }))
  t.equal((await Promise.race(puts)).status, 429)
  t.equal((await call('PUT', SHOP, { token: web, body: PEM })).status, 200)
  gate.resolve()
  const statuses = (await Promise.all(puts)).map(({ status }) => status)
  t.same(statuses.toSorted(), [200, 429, 429])
  t.equal((await call('PUT', SHOP, { token: web, body })).status, 200)
})

t.test('it takes a proven domain, and the verb in its pool', async (t) => {
  const { call, prove, asked, web, lab, webToken } = await shopFor(t)
  const reader = await webToken('read')
  const attempts = [
    ['GET', SHOP],
    ['PUT', SHOP, PEM],
    ['POST', `${SHOP}/renew`],
    ['DELETE', SHOP],
  ] as const
  for (const [method, path, body] of attempts) {
    const attempt = async (token: string) => (await call(method, path, { token, body })).json.code
    t.equal(await attempt(web), 'api_domain_unproven', method)
    t.equal(await attempt(lab), 'api_not_found', method)
  }
  await prove()
  for (const [method, path, body] of attempts) {
    t.equal((await call(method, path, { token: lab, body })).status, 404, method)
    t.equal((await call(method, path, { token: reader, body })).status, method === 'GET' ? 200 : 403, method)
    const stranger = path.replace('www.shop', 'www.other')
    t.equal((await call(method, stranger, { token: web, body })).json.code, 'api_not_found', method)
  }
  t.same(asked, ['view www.shop.example'])
})

t.test("the platform's names, its wildcard and unproven ones are the operators'", async (t) => {
  const { call, asked, web } = await shopFor(t)
  const names = ['example.test', '*.example.test', '%2A.example.test', 'a.example.test', 'x.y.example.test']
  for (const name of names) {
    const path = `/v1/certificates/${name}`
    t.equal((await call('GET', path, { token: web })).status, 403, name)
    t.equal((await call('PUT', path, { token: web, body: PEM })).status, 403, name)
    t.equal((await call('PUT', path, { body: PEM })).status, 200, name)
  }
  const [first, second] = ['upload example.test', 'upload a.example.test']
  t.same(asked, [first, first, first, second, 'upload x.y.example.test'])
  t.equal((await call('PUT', SHOP, { body: PEM })).status, 200)
})

t.test('names that are none, and other methods, are refused', async (t) => {
  const { call, asked } = await shopFor(t)
  for (const name of [
    '*.shop.example',
    'a..b',
    '127.0.0.1',
    '..%2f..%2fetc',
    'a%00.example',
    '%2e%2e',
    'x',
  ]) {
    t.match(await call('PUT', `/v1/certificates/${name}`, { body: PEM }), { status: 422 }, name)
    t.match(await call('GET', `/v1/certificates/${name}`), { status: 404 }, name)
  }
  t.equal((await call('PATCH', SHOP)).status, 405)
  t.equal((await call('GET', `${SHOP}/renew`)).status, 405)
  t.same(asked, [])
})

t.test('what is changed is recorded before it is written, without a word of the key', async (t) => {
  const { call, prove, store, lines, web, audited } = await shopFor(t)
  await prove()
  const key = 'order/www.shop.example/ec'
  await call('PUT', SHOP, { token: web, body: PEM, headers: { 'idempotency-key': 'one' } })
  await call('PUT', SHOP, { token: web, body: { pkcs12: 'U0VDUkVU', passphrase: 'SECRET-PASSPHRASE' } })
  await call('POST', `${SHOP}/renew`, { token: web, headers: { 'idempotency-key': 'two' } })
  await call('DELETE', SHOP, { token: web })
  t.same((await audited()).slice(-4), [
    'create certificate/www.shop.example/ec',
    'update certificate/www.shop.example/ec',
    `create ${key}`,
    'delete certificate/www.shop.example/ec',
  ])
  const audit = (await call('GET', '/v1/audit?pool=web', { token: web })).text
  t.match(audit, /www\.shop\.example/, 'the owner of the pool sees it')
  const everything = JSON.stringify([(await store.list('')).documents, lines])
  t.notMatch(everything, /SECRET|U0VDUkVU|CHAIN-OF/)
})

t.test('without its record a change does not happen', async (t) => {
  const certificates = createFakeDesk()
  const { call } = await vmApiFor(t, { certificates })
  const broken = await vmApiFor(t, { certificates, now: () => new Date(Number.NaN) }).catch(() => undefined)
  t.equal(broken, undefined, 'this clock lets nothing be recorded')
  t.equal((await call('PUT', '/v1/certificates/example.test', { body: PEM })).status, 200)
  certificates.uploads.clear()
  const { store, call: other } = await vmApiFor(t, { certificates })
  const commit = store.commit.bind(store)
  store.commit = () => Promise.reject(new Error('the disk is full'))
  t.equal((await other('PUT', '/v1/certificates/example.test', { body: PEM })).status, 500)
  store.commit = commit
  t.equal(certificates.uploads.size, 0)
})

t.test('a body that is no JSON leaves nothing of a key in the log', async (t) => {
  const { call, lines } = await shopFor(t)
  for (const body of [
    '{"certificate":"x","key":"SECRET-KEY-MATERIAL"x}',
    '{"key":SECRET-KEY-MATERIAL}',
    'SECRET-KEY-MATERIAL',
    '{"key":"SECRET-KEY-MATERIAL',
  ]) {
    const answer = await call('PUT', SHOP, { body })
    t.equal(answer.status, 400)
    t.notMatch(answer.text, /SECRET|MATERIAL/)
  }
  const told = lines.map((line) => {
    const { err } = line as { err?: Error }
    return `${JSON.stringify(line)} ${err?.stack} ${String((err?.cause as Error | undefined)?.stack)}`
  })
  t.notMatch(told.join('\n'), /SECRET|MATERIAL/)
})

t.test('a request for renewal that is sent twice orders once', async (t) => {
  const { call, prove, asked, web } = await shopFor(t)
  await prove()
  const headers = { 'idempotency-key': 'again' }
  const first = await call('POST', `${SHOP}/renew`, { token: web, headers })
  const second = await call('POST', `${SHOP}/renew`, { token: web, headers })
  t.same(second.json, first.json)
  t.same(asked, ['renew www.shop.example'])
})
