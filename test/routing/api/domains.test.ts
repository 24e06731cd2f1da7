/** Custom domains: asked for, proven, and only then served. */

import t from 'tap'
import { certificateOf, renewalOf } from '../../helpers/certificate-rows.ts'
import { dnsServerFor } from '../../helpers/scripted-dns.ts'
import { documentsOf, type VmClient, vmApiFor } from './vm-client.ts'

const SHOP = '/v1/domains/www.shop.example'
const CHECK = `${SHOP}/check`
const TXT = '_landfall-challenge.www.shop.example'

t.test('leads a domain to its VM once a TXT record proves it, and not before', async (t) => {
  const { zone, resolver } = await dnsServerFor(t)
  const { call, store, audited } = await vmApiFor(t, { dns: resolver })
  await call('PUT', '/v1/vms/a', { body: { ports: { 8000: { visibility: 'public' } } } })
  const created = await call('PUT', SHOP, { body: { vm: 'a', port: 8_000 } })
  const { challenge, createdAt, revision } = created.json
  t.match(created, { status: 201, headers: { location: SHOP, etag: `"${revision}"` } })
  t.match(challenge, /^[\w-]{32}$/)
  const records = [
    { type: 'TXT', name: TXT, value: `landfall=${challenge}` },
    { type: 'CNAME', name: 'www.shop.example', value: 'a.example.test' },
  ]
  const shown = {
    hostname: 'www.shop.example',
    vm: 'a',
    port: 8_000,
    challenge,
    createdAt,
    url: 'https://www.shop.example',
    records,
  }
  t.strictSame(created.json, { ...shown, state: 'pending', revision })
  t.strictSame((await call('GET', SHOP)).json, created.json)
  const early = await call('POST', CHECK)
  t.match(early, {
    status: 200,
    json: { state: 'pending', lastError: /^TXT: there is no such name \(NXDOMAIN\)/ },
  })
  t.same(Object.keys(await documentsOf({ store }, 'route/')), ['8000--a.example.test', 'a.example.test'])
  zone.set(TXT, { txt: [[`landfall=${challenge}`]] })
  const proven = await call('POST', CHECK)
  t.match(proven, { status: 200, json: { state: 'proven', provenBy: 'txt', provenAt: String } })
  t.notOk('lastError' in proven.json)
  t.match(await store.get('route/www.shop.example'), {
    value: { vm: 'a', port: 8_000, visibility: 'public' },
  })
  t.equal((await call('DELETE', SHOP)).status, 204)
  const left = (await store.list('')).documents.filter(({ key }) => /shop/.test(key)).map(({ key }) => key)
  t.same(left, [])
  const lines = (await audited()).filter((line) => line.includes('shop'))
  t.same(
    lines,
    ['create', 'update', 'update', 'delete'].map((action) => `${action} domain/www.shop.example`),
  )
})

t.test('a CNAME proves it as well, and what is proven is not asked for again', async (t) => {
  const { zone, resolver, asked } = await dnsServerFor(t, [['www.shop.example', { cname: 'a.example.test' }]])
  const { call } = await vmApiFor(t, { dns: resolver })
  await call('PUT', '/v1/vms/a', { body: {} })
  await call('PUT', SHOP, { body: { vm: 'a' } })
  const proven = await call('POST', CHECK)
  t.match(proven.json, { state: 'proven', provenBy: 'cname' })
  zone.clear()
  const count = asked.length
  t.strictSame((await call('POST', CHECK)).json, proven.json)
  t.equal(asked.length, count)
  const again = await call('POST', `${CHECK}?again=true`)
  t.match(again.json, { state: 'proven', provenBy: 'cname', lastError: /NXDOMAIN/ }, 'it stays proven')
  t.ok(asked.length > count)
  t.equal((await call('POST', `${CHECK}?again=maybe`)).status, 400)
  t.equal((await call('GET', CHECK)).headers.allow, 'POST')
})

t.test('tells what DNS says, without writing the same twice', async (t) => {
  const { zone, resolver } = await dnsServerFor(t, [
    [TXT, 'SERVFAIL'],
    ['www.shop.example', { cname: 'b.example.test' }],
  ])
  const { call, revision } = await vmApiFor(t, { dns: resolver })
  await call('PUT', '/v1/vms/a', { body: {} })
  await call('PUT', SHOP, { body: { vm: 'a' } })
  const lastError = 'TXT: its name servers failed (SERVFAIL). CNAME: it leads to "b.example.test".'
  t.match((await call('POST', CHECK)).json, { state: 'pending', lastError })
  const before = await revision()
  t.match((await call('POST', CHECK)).json, { state: 'pending', lastError })
  t.equal(await revision(), before)
  zone.set(TXT, { txt: [['landfall=other']] })
  t.match((await call('POST', CHECK)).json, { state: 'pending', lastError: /^TXT: it has another value/ })
})

t.test('operators prove by hand, and nobody else', async (t) => {
  const { call, web, store } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  const byHand = { body: { vm: 'a', proof: 'operator' } }
  t.match(await call('PUT', SHOP, { ...byHand, token: web }), {
    status: 403,
    json: { code: 'api_forbidden' },
  })
  await call('PUT', SHOP, { body: { vm: 'a' }, token: web })
  await call('POST', CHECK, { token: web })
  const proven = await call('PUT', SHOP, byHand)
  t.match(proven, {
    status: 200,
    json: { state: 'proven', provenBy: 'operator', provenAt: String, lastError: undefined },
  })
  t.match(await store.get('route/www.shop.example'), { value: { vm: 'a', pool: 'web' } })
})

t.test('the route of a proven domain comes and goes without a new proof', async (t) => {
  const { call, web, store } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  await call('PUT', '/v1/vms/c', { body: { pool: 'web' } })
  await call('PUT', SHOP, { body: { vm: 'a', proof: 'operator' } })
  const route = '/v1/routes/www.shop.example'
  t.equal((await call('DELETE', route, { token: web })).status, 204)
  t.match((await call('GET', SHOP, { token: web })).json, { state: 'proven' })
  t.equal((await call('PUT', route, { body: { vm: 'a' }, token: web })).status, 201)
  t.equal((await call('PUT', route, { body: { vm: 'c', port: 81 }, token: web })).status, 200)
  t.match(
    (await call('GET', SHOP)).json,
    { vm: 'c', port: 81, state: 'proven' },
    'the domain goes where its route leads',
  )
  t.same(Object.keys(await documentsOf({ store }, 'claim/')), ['c/www.shop.example'])
  t.match(await call('PUT', SHOP, { body: { vm: 'a' }, token: web }), {
    status: 200,
    json: { vm: 'a', port: undefined },
  })
  t.match((await store.get('route/www.shop.example'))?.value, { vm: 'a', port: 80 })
  t.same(Object.keys(await documentsOf({ store }, 'claim/')), ['a/www.shop.example'])
  t.same(Object.keys(await documentsOf({ store }, 'binding/c/')), ['c.example.test'])
  const bare = await call('PUT', route, { body: { upstream: '127.0.0.1:1' } })
  t.match(bare, { status: 409, json: { code: 'api_name_taken', detail: /DELETE \/v1\/domains/ } })
  t.equal((await call('DELETE', '/v1/vms/a')).status, 204)
  t.equal((await call('GET', SHOP)).status, 404, 'it goes with its VM')
})

async function upload({ store }: Pick<VmClient, 'store'>, hostname: string): Promise<void> {
  const rsa = certificateOf(hostname, { source: 'upload', keyType: 'rsa' })
  await store.put(`certificate/${hostname}/rsa`, { ...rsa })
  await store.put(`renewal/${hostname}/rsa`, { ...renewalOf(rsa) })
  await store.put(`certificate/${hostname}/ec`, { ...certificateOf(hostname) })
}

t.test('what was uploaded for a domain goes with it, and what was ordered stays', async (t) => {
  const client = await vmApiFor(t)
  const { call, store } = client
  const left = async () => Object.keys(await documentsOf({ store }, 'certificate/'))
  await call('PUT', '/v1/vms/a', { body: {} })
  await call('PUT', '/v1/vms/b', { body: {} })
  await call('PUT', SHOP, { body: { vm: 'a' } })
  await upload(client, 'www.shop.example')
  await call('PUT', SHOP, { body: { vm: 'b' } })
  t.same(await left(), ['www.shop.example/ec', 'www.shop.example/rsa'], 'its owner may lead it elsewhere')
  t.equal((await call('DELETE', SHOP)).status, 204)
  t.same(await left(), ['www.shop.example/ec'])
  t.same(await documentsOf({ store }, 'renewal/'), {})
  await call('PUT', SHOP, { body: { vm: 'a' } })
  await upload(client, 'www.shop.example')
  t.equal((await call('DELETE', '/v1/vms/a')).status, 204)
  t.same(await left(), ['www.shop.example/ec'], 'also with the VM')
})

t.test('what was uploaded for a domain is not served for the next pool that has it', async (t) => {
  let now = Date.parse('2026-01-31T12:00:00Z')
  const client = await vmApiFor(t, { now: () => new Date(now) })
  const { call, store, web, lab } = client
  await call('PUT', '/v1/vms/a', { body: {}, token: web })
  await call('PUT', '/v1/vms/b', { body: {}, token: lab })
  await call('PUT', SHOP, { body: { vm: 'a' }, token: web })
  await upload(client, 'www.shop.example')
  now += 8 * 86_400_000
  t.equal((await call('PUT', SHOP, { body: { vm: 'b' }, token: lab })).status, 200)
  t.same(Object.keys(await documentsOf({ store }, 'certificate/')), ['www.shop.example/ec'])
})

t.test('what was uploaded for a domain goes when it is led to another pool', async (t) => {
  const client = await vmApiFor(t)
  const { call, store } = client
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  await call('PUT', '/v1/vms/c', { body: { pool: 'web' } })
  await call('PUT', '/v1/vms/b', { body: { pool: 'lab' } })
  await call('PUT', SHOP, { body: { vm: 'a', proof: 'operator' } })
  const kept = () => documentsOf({ store }, 'certificate/')
  for (const path of [SHOP, '/v1/routes/www.shop.example']) {
    await upload(client, 'www.shop.example')
    await call('PUT', path, { body: { vm: 'c' } })
    t.same(Object.keys(await kept()), ['www.shop.example/ec', 'www.shop.example/rsa'], path)
    t.equal((await call('PUT', path, { body: { vm: 'b' } })).status, 200, path)
    t.same(Object.keys(await kept()), ['www.shop.example/ec'], path)
    await call('PUT', SHOP, { body: { vm: 'a' } })
  }
})

t.test('refuses what cannot be a custom domain', async (t) => {
  const { call, revision } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: {} })
  const before = await revision()
  const put = (name: string, body: unknown = { vm: 'a' }) => call('PUT', `/v1/domains/${name}`, { body })
  for (const name of [
    'com',
    'localhost',
    '10.0.0.1',
    '[::1]',
    'a_b.example',
    'a..b',
    '%00.example',
    'a%2Fb.example',
  ]) {
    t.match(await put(name), { status: 422, json: { field: '/hostname' } }, name)
  }
  for (const name of ['*.shop.example', '%2a.shop.example', '*']) {
    t.match(
      await put(name),
      { status: 422, json: { field: '/hostname', detail: /wildcard host names are not routed/ } },
      name,
    )
  }
  for (const name of ['example.test', 'x.example.test', 'x.y.example.test', 'ADMIN.example.test.']) {
    t.match(
      await put(name),
      { status: 409, json: { code: 'api_hostname_reserved', field: '/hostname' } },
      name,
    )
  }
  const bodies = [
    ['/vm', {}],
    ['/vm', { vm: 'nobody' }],
    ['/port', { vm: 'a', port: 0 }],
    ['/proof', { vm: 'a', proof: 'mine' }],
    ['/state', { vm: 'a', state: 'proven' }],
    ['/challenge', { vm: 'a', challenge: 'x' }],
  ] as const
  for (const [field, body] of bodies)
    t.match(await put('www.shop.example', body), { status: 422, json: { field } })
  t.equal((await call('POST', '/v1/domains/www.shop.example/check')).status, 404)
  t.equal((await call('DELETE', SHOP)).status, 404)
  t.equal(await revision(), before)
  t.match(await put('B%C3%BCcher.example.'), { status: 201, json: { hostname: 'xn--bcher-kva.example' } })
})

t.test('lists domains, honours preconditions, and takes the verb write', async (t) => {
  const { call, web, lab, webToken } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  await call('PUT', '/v1/vms/b', { body: { pool: 'lab' } })
  const make = { body: { vm: 'a' }, headers: { 'if-none-match': '*' } }
  const made = await Promise.all([call('PUT', SHOP, make), call('PUT', SHOP, make), call('PUT', SHOP, make)])
  t.same(made.map(({ status }) => status).sort(), [201, 412, 412])
  await call('PUT', '/v1/domains/b.example', { body: { vm: 'b' } })
  const names = async (query: string, token?: string) => {
    const { json } = await call('GET', `/v1/domains${query}`, token === undefined ? {} : { token })
    return (json.domains as { hostname: string }[]).map(({ hostname }) => hostname)
  }
  t.same(await names(''), ['b.example', 'www.shop.example'])
  t.same(await names('', lab), ['b.example'])
  t.same(await names('?vm=a'), ['www.shop.example'])
  t.same(await names('?vm=a', lab), [])
  t.same(await names('?limit=1&after=b.example'), ['www.shop.example'])
  const reader = await webToken('read', 'share')
  t.equal((await call('GET', SHOP, { token: reader })).status, 200)
  for (const [method, path, body] of [
    ['PUT', SHOP, { vm: 'a' }],
    ['DELETE', SHOP, undefined],
    ['POST', CHECK, undefined],
  ] as const) {
    t.equal((await call(method, path, { token: reader, ...(body && { body }) })).status, 403, method)
  }
  const { headers } = await call('GET', SHOP, { token: web })
  t.equal((await call('GET', SHOP, { headers: { 'if-none-match': headers.etag ?? '' } })).status, 304)
  t.equal((await call('DELETE', SHOP, { headers: { 'if-match': '"1"' } })).status, 412)
  t.equal((await call('DELETE', SHOP, { headers: { 'if-match': headers.etag ?? '' } })).status, 204)
})

t.test('a record that cannot be read is mended or deleted by who may do everything', async (t) => {
  const { call, web, store } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  for (const method of ['PUT', 'DELETE']) {
    await store.put('domain/www.shop.example', { hostname: 'www.shop.example', vm: 'a' })
    t.same((await call('GET', '/v1/domains')).json, { domains: [] })
    const body = method === 'PUT' ? { body: { vm: 'a' } } : {}
    t.equal((await call(method, SHOP, { ...body, token: web })).status, 403)
    t.equal((await call(method, SHOP, body)).status, method === 'PUT' ? 200 : 204)
  }
})
