/** Routes: which host names may lead where, by whose word, and what is shown of them. */

import t from 'tap'
import { putReport, reportOf } from '../vms/vm-documents.ts'
import { documentsOf, vmApiFor } from './vm-client.ts'

const SHOP = '/v1/routes/shop.example.test'
const BARE = { upstream: '127.0.0.1:9000', visibility: 'public' }

t.test('leads a host name to a VM, and to another of its ports', async (t) => {
  const { call, store, audited } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: { ports: { 8000: { visibility: 'public' } } } })
  const created = await call('PUT', SHOP, { body: { vm: 'a' } })
  t.match(created, { status: 201, headers: { location: SHOP, etag: `"${created.json.revision}"` } })
  const shown = {
    ...{ hostname: 'shop.example.test', url: 'https://shop.example.test', vm: 'a', pool: 'default' },
    ...{ visibility: 'private', port: 80, state: 'stopped', generation: 0 },
  }
  t.strictSame(created.json, { ...shown, revision: created.json.revision })
  t.strictSame((await call('GET', SHOP)).json, created.json)
  const again = await call('PUT', SHOP, { body: { vm: 'a' } })
  t.match(again, { status: 200, json: { revision: created.json.revision } })
  const changed = await call('PUT', SHOP, { body: { vm: 'a', port: 8_000 } })
  t.match(changed, {
    status: 200,
    json: { port: 8_000, visibility: 'public' },
    headers: { location: undefined },
  })
  await putReport(store, reportOf('a', [80, 8_000], { generation: 2 }))
  const running = (await call('GET', SHOP)).json
  t.match(running, { state: 'running', generation: 2 })
  t.notOk('upstream' in running, 'where the VM is inside the network is not shown')
  t.equal((await call('DELETE', SHOP)).status, 204)
  t.equal((await call('GET', SHOP)).status, 404)
  t.equal((await call('DELETE', SHOP)).status, 404)
  t.same(Object.keys(await documentsOf({ store }, 'binding/a/')), ['8000--a.example.test', 'a.example.test'])
  const lines = (await audited()).filter((line) => line.includes('shop'))
  t.same(lines, [
    'create binding/a/shop.example.test',
    'update binding/a/shop.example.test',
    'delete route/shop.example.test',
  ])
})

t.test('leads a host name to a bare address, for operators only', async (t) => {
  const { call, store, web, revision, audited } = await vmApiFor(t)
  const before = await revision()
  const refused = await call('PUT', SHOP, { body: BARE, token: web })
  t.match(refused, { status: 403, json: { code: 'api_forbidden', detail: /"write" over all pools/ } })
  t.equal(await revision(), before)
  const created = await call('PUT', SHOP, { body: BARE })
  const shown = {
    hostname: 'shop.example.test',
    url: 'https://shop.example.test',
    ...BARE,
    state: 'running',
    generation: 0,
  }
  t.strictSame(created.json, { ...shown, revision: created.json.revision })
  t.match(await store.get('route/shop.example.test'), {
    value: { upstream: { host: '127.0.0.1', port: 9_000 } },
  })
  t.equal((await call('GET', SHOP, { token: web })).status, 404, 'it is of no pool')
  const changed = await call('PUT', SHOP, { body: { upstream: '[::1]:9000', pool: 'web' } })
  t.match(changed, { status: 200, json: { upstream: '[::1]:9000', visibility: 'private', pool: 'web' } })
  t.equal((await call('GET', SHOP, { token: web })).status, 200)
  t.match(await call('PUT', SHOP, { body: { ...BARE, pool: 'nowhere' } }), {
    status: 422,
    json: { code: 'api_pool_unknown', field: '/pool' },
  })
  t.equal((await call('DELETE', SHOP, { token: web })).status, 204)
  t.same(
    (await audited()).slice(-3),
    ['create', 'update', 'delete'].map((it) => `${it} route/shop.example.test`),
  )
})

t.test('names the field of a body that is wrong', async (t) => {
  const { call, revision } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: {} })
  const before = await revision()
  const cases = [
    ['/vm', {}],
    ['/vm', { port: 80 }],
    ['/vm', { vm: '../a' }],
    ['/vm', { vm: 'nobody' }],
    ['/port', { vm: 'a', port: 0 }],
    ['/port', { upstream: 'a:80', port: 80 }],
    ['/upsteam', { upsteam: 'a:80' }],
    ['/upstream', { upstream: '127.0.0.1' }],
    ['/upstream', { upstream: 'http://127.0.0.1:80' }],
    ['/upstream', { upstream: { host: '127.0.0.1', port: 80 } }],
    ['/upstream', { upstream: null }],
    ['/upstream', { upstream: 'a:80', vm: 'a' }],
    ['/visibility', { upstream: 'a:80', visibility: 'open' }],
    ['/visibility', { vm: 'a', visibility: 'public' }],
    ['/pool', { vm: 'a', pool: 'web' }],
    ['/state', { upstream: 'a:80', state: 'running' }],
    ['/hostname', { upstream: 'a:80', hostname: 'b.example' }],
  ] as const
  for (const [field, body] of cases) {
    t.match(await call('PUT', SHOP, { body }), { status: 422, json: { field } }, JSON.stringify(body))
  }
  const { json } = await call('PUT', SHOP, { body: { vm: 'a', port: 8_000, visibility: 'public' } })
  t.match(json, { detail: /set it on the port: PUT \/v1\/vms\/a\/ports\/8000/ })
  t.match((await call('PUT', SHOP, { body: { vm: 'nobody' } })).json, {
    code: 'api_vm_unknown',
    next: /\/v1\/vms/,
  })
  t.equal(await revision(), before)
})

t.test('lists all routes, those of a pool, and those of a VM', async (t) => {
  const { call, web, lab } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  await call('PUT', '/v1/vms/b', { body: { pool: 'lab' } })
  await call('PUT', SHOP, { body: { vm: 'a' } })
  await call('PUT', '/v1/routes/bare.example.test', { body: BARE })
  const names = async (query: string, token?: string) => {
    const { json } = await call('GET', `/v1/routes${query}`, token === undefined ? {} : { token })
    return (json.routes as { hostname: string }[]).map(({ hostname }) => hostname.replace(/\..*/, ''))
  }
  t.same(await names(''), ['a', 'b', 'bare', 'shop'])
  t.same(await names('', web), ['a', 'shop'])
  t.same(await names('?pool=lab'), ['b'])
  t.same(await names('?vm=a'), ['a', 'shop'])
  t.same(await names('?vm=a', web), ['a', 'shop'])
  t.same(await names('?vm=a', lab), [])
  t.same(await names('?vm=a&pool=lab'), [])
  t.same(await names('?vm=nobody'), [])
  const page = await call('GET', '/v1/routes?vm=a&limit=1')
  t.match(page.json, { routes: [{ hostname: 'a.example.test' }], next: 'a.example.test' })
  t.same(await names(`?vm=a&after=${page.json.next}`), ['shop'])
  for (const query of ['?vm=A', '?vm=', '?x=1', '?limit=0', '?limit=1001', '?pool=..']) {
    t.equal((await call('GET', `/v1/routes${query}`)).status, 400, query)
  }
})

t.test('honours preconditions', async (t) => {
  const { call } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: {} })
  for (const body of [{ vm: 'a' }, BARE]) {
    const make = { body, headers: { 'if-none-match': '*' } }
    const answers = await Promise.all([
      call('PUT', SHOP, make),
      call('PUT', SHOP, make),
      call('PUT', SHOP, make),
    ])
    t.same(answers.map(({ status }) => status).sort(), [201, 412, 412])
    const stale = { headers: { 'if-match': '"1"' } }
    t.equal((await call('PUT', SHOP, { ...stale, body })).status, 412)
    t.equal((await call('DELETE', SHOP, stale)).status, 412)
    const { headers } = await call('GET', SHOP)
    t.equal((await call('GET', SHOP, { headers: { 'if-none-match': headers.etag ?? '' } })).status, 304)
    t.equal((await call('DELETE', SHOP, { headers: { 'if-match': headers.etag ?? '' } })).status, 204)
  }
  t.match(await call('POST', SHOP), { status: 405, headers: { allow: 'GET, HEAD, PUT, DELETE' } })
  t.match(await call('PUT', '/v1/routes'), { status: 405, headers: { allow: 'GET, HEAD' } })
})

t.test('a name that two ask for at once has one of them, and one binding', async (t) => {
  const { call, store } = await vmApiFor(t)
  for (let round = 0; round < 10; round += 1) {
    const name = `n${round}`
    await call('PUT', '/v1/vms/a', { body: {} })
    const [vm, route] = await Promise.all([
      call('PUT', `/v1/vms/${name}`, { body: {} }),
      call('PUT', `/v1/routes/${name}.example.test`, { body: { vm: 'a' } }),
    ])
    t.same([vm.status, route.status].sort(), [201, 409])
    const bindings = Object.keys(await documentsOf({ store }, 'binding/'))
    t.equal(bindings.filter((key) => key.endsWith(`/${name}.example.test`)).length, 1)
  }
})

t.test('a row that cannot be read is mended or deleted by who may do everything', async (t) => {
  const { call, store, web } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  for (const method of ['PUT', 'DELETE']) {
    await store.put('route/shop.example.test', { hostname: 'shop.example.test', pool: 'web' })
    t.equal((await call('GET', SHOP)).json.code, 'api_record_broken')
    const body = method === 'PUT' ? { body: { vm: 'a' } } : {}
    t.ok([404, 409].includes((await call(method, SHOP, { ...body, token: web })).status ?? 0))
    t.equal((await call(method, SHOP, body)).status, method === 'PUT' ? 200 : 204)
  }
})

t.test('a VM has fifty host names of others at most', async (t) => {
  const { call, store } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: {} })
  const statuses = new Set<unknown>()
  for (let made = 0; made < 50; made += 1) {
    statuses.add((await call('PUT', `/v1/routes/s${made}.example.test`, { body: { vm: 'a' } })).status)
  }
  t.same([...statuses], [201])
  const answer = await call('PUT', SHOP, { body: { vm: 'a' } })
  t.match(answer, { status: 422, json: { field: '/vm', detail: /50 host names/ } })
  await putReport(store, reportOf('a'))
  t.match(
    await call('GET', '/v1/routes/s7.example.test'),
    { json: { state: 'running' } },
    'all of them change at once',
  )
})
