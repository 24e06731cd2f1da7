/** Host names of routes: their canonical form, and who may have which. */

import t from 'tap'
import { documentsOf, vmApiFor } from './vm-client.ts'

const SHOP = '/v1/routes/shop.example.test'
const BARE = { upstream: '127.0.0.1:9000', visibility: 'public' }

t.test('stores and shows the canonical form of a host name, however it is written', async (t) => {
  const { call, store } = await vmApiFor(t)
  const cases = [
    ['SHOP.Example.TEST', 'shop.example.test'],
    ['shop.example.test.', 'shop.example.test'],
    ['b%C3%BCcher.example', 'xn--bcher-kva.example'],
    ['B%c3%9cCHER.example', 'xn--bcher-kva.example'],
    ['shop%2Eexample.test', 'shop.example.test'],
    ['shop\u3002example.test', 'shop.example.test'],
  ] as const
  for (const [written, hostname] of cases) {
    const path = `/v1/routes/${encodeURI(written).replaceAll('%25', '%')}`
    const answer = await call('PUT', path, { body: BARE })
    t.match(answer, { json: { hostname } }, written)
    if (answer.status === 201) t.equal(answer.headers.location, `/v1/routes/${hostname}`)
    t.match((await call('GET', path)).json, { hostname })
  }
  t.same(Object.keys(await documentsOf({ store }, 'route/')), ['shop.example.test', 'xn--bcher-kva.example'])
})

t.test('refuses what is no host name', async (t) => {
  const { call, revision } = await vmApiFor(t)
  const before = await revision()
  const names = [
    'localhost',
    '10.0.0.1',
    '[::1]',
    '*.example',
    'a..b',
    'a_b.example',
    'a.example:80',
    '-a.example',
    `${'x'.repeat(64)}.example`,
    'a.example%00',
    'a%2Fb.example',
    '..',
    '%2e%2e.example',
    'x'.repeat(3_000),
    'a.example%20',
    '__proto__',
  ]
  for (const name of names) {
    const path = `/v1/routes/${name}`
    const answer = await call('PUT', path, { body: BARE })
    t.match(answer, { status: 422, json: { code: 'api_record_invalid', field: '/hostname' } }, name)
    for (const method of ['GET', 'DELETE'])
      t.ok([404, 405].includes((await call(method, path)).status ?? 0), `${method} ${name}`)
  }
  t.equal(await revision(), before)
})

t.test("a VM's own names are set by the VM, and what is the edge's own by nobody", async (t) => {
  const { call, revision } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: { ports: { 8000: { visibility: 'public' } } } })
  await call('PUT', '/v1/vms/b', { body: {} })
  const before = await revision()
  const cases = [
    ['admin.example.test', 'api_hostname_reserved'],
    ['AUTH.example.test.', 'api_hostname_reserved'],
    ['8000--b.example.test', 'api_name_reserved'],
    ['9000--nobody.example.test', 'api_name_reserved'],
    ['b.example.test', 'api_name_taken'],
    ['9000--a.example.test', 'api_name_reserved'],
  ] as const
  for (const [hostname, code] of cases) {
    for (const body of [{ vm: 'a' }, BARE]) {
      const answer = await call('PUT', `/v1/routes/${hostname}`, { body })
      t.match(
        answer,
        { status: 409, json: { code, field: '/hostname' } },
        `${hostname} ${JSON.stringify(body)}`,
      )
    }
  }
  const own = '/v1/routes/a.example.test'
  t.equal((await call('PUT', own, { body: { vm: 'a' } })).status, 200, 'as it is')
  t.equal((await call('PUT', own, { body: { vm: 'a', port: 80 } })).status, 200, 'as it is')
  const moved = await call('PUT', own, { body: { vm: 'a', port: 8_000 } })
  t.match(moved, {
    status: 409,
    json: { code: 'api_name_reserved', detail: /PUT \/v1\/vms\/a\/ports\/8000/ },
  })
  t.match(await call('DELETE', own), { status: 409, json: { code: 'api_name_reserved' } })
  const port = await call('DELETE', '/v1/routes/8000--a.example.test')
  t.match(port, { status: 409, json: { detail: /DELETE \/v1\/vms\/a\/ports\/8000/ } })
  t.equal(await revision(), before)
})

t.test('only operators take names that no certificate covers, or that are proven by nobody', async (t) => {
  const { call, web, revision } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  const before = await revision()
  for (const hostname of ['x.y.example.test', 'example.test']) {
    const answer = await call('PUT', `/v1/routes/${hostname}`, { body: { vm: 'a' }, token: web })
    t.match(answer, {
      status: 403,
      json: { code: 'api_forbidden', field: '/hostname', detail: /certificate/ },
    })
  }
  const answer = await call('PUT', '/v1/routes/www.shop.example', { body: { vm: 'a' }, token: web })
  t.match(answer, { status: 409, json: { code: 'api_domain_unproven', field: '/hostname' } })
  const { detail } = answer.json
  t.match(detail, /PUT \/v1\/domains\/www\.shop\.example \{"vm": "a"\}/)
  t.match(detail, /TXT record "_landfall-challenge\.www\.shop\.example"/)
  t.match(detail, /CNAME record "www\.shop\.example" with the value "a\.example\.test"/)
  t.equal(await revision(), before)
  const asked = await call('PUT', '/v1/domains/www.shop.example', { body: { vm: 'a' }, token: web })
  const pending = await call('PUT', '/v1/routes/www.shop.example', { body: { vm: 'a' }, token: web })
  t.match(pending, { status: 409, json: { detail: new RegExp(`landfall=${asked.json.challenge}`) } })
  for (const hostname of ['x.y.example.test', 'example.test', 'www.shop.example']) {
    t.equal((await call('PUT', `/v1/routes/${hostname}`, { body: { vm: 'a' } })).status, 201, hostname)
  }
})

t.test('a name that is taken changes hands only by who may write both sides', async (t) => {
  const { call, store, web, lab } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  await call('PUT', '/v1/vms/c', { body: { pool: 'web' } })
  await call('PUT', '/v1/vms/b', { body: { pool: 'lab' } })
  t.equal((await call('PUT', SHOP, { body: { vm: 'a' }, token: web })).status, 201)
  const { revision } = await store.list('')
  const refused = await call('PUT', SHOP, { body: { vm: 'b' }, token: lab })
  t.match(refused, { status: 409, json: { code: 'api_name_taken', field: '/hostname' } })
  t.notMatch(refused.text, /"a"|web/, 'and does not say whose it is')
  t.match(await call('PUT', SHOP, { body: { vm: 'a' }, token: lab }), {
    status: 422,
    json: { code: 'api_vm_unknown' },
  })
  t.equal((await call('GET', SHOP, { token: lab })).status, 404)
  t.equal((await call('DELETE', SHOP, { token: lab })).status, 404)
  t.equal((await store.list('')).revision, revision)
  t.match(await call('PUT', SHOP, { body: { vm: 'c' }, token: web }), { status: 200, json: { vm: 'c' } })
  t.same(Object.keys(await documentsOf({ store }, 'binding/a/')), ['a.example.test'])
  t.match(await call('PUT', SHOP, { body: { vm: 'b' } }), { status: 200, json: { vm: 'b', pool: 'lab' } })
  t.equal((await call('DELETE', SHOP, { token: web })).status, 404)
  t.match(await call('PUT', SHOP, { body: BARE }), { status: 200, json: BARE })
  t.same(Object.keys(await documentsOf({ store }, 'binding/b/')), ['b.example.test'])
  t.equal((await call('PUT', SHOP, { body: { vm: 'a' }, token: web })).status, 409)
  t.match(await call('PUT', SHOP, { body: { vm: 'a' } }), { status: 200, json: { vm: 'a' } })
  t.match((await store.get('route/shop.example.test'))?.value, { vm: 'a', upstream: undefined })
})
