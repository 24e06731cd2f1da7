/** Routes and VMs as resources: what is stored, shown, refused, and what preconditions do. */

import t from 'tap'
import { startMemoryStore } from '../../routing/memory-store.ts'
import type { VmRecord } from '../../routing/records.ts'
import { putVm } from '../../routing/vm-routes.ts'
import { adminFor } from './admin-client.ts'

const VM: VmRecord = {
  name: 'hello',
  state: 'running',
  generation: 4,
  ports: { '8000': { host: '::1', port: 41_000 } },
}
const ROUTE = '/v1/routes/a.example'
const BARE = { upstream: '127.0.0.1:9000', visibility: 'public' }

t.test('creates, shows, replaces and deletes a route to an address', async (t) => {
  const { call, store } = await adminFor(t)
  const created = await call('PUT', ROUTE, { body: BARE })
  const shown = { hostname: 'a.example', ...BARE, state: 'running', generation: 0 }
  t.equal(created.status, 201)
  t.equal(created.headers.location, ROUTE)
  t.equal(created.headers.etag, '"1"')
  t.strictSame(created.json, { ...shown, revision: 1 })
  t.match(await store.get('route/a.example'), { value: { upstream: { host: '127.0.0.1', port: 9_000 } } })

  const replaced = await call('PUT', ROUTE, { body: { upstream: '[::1]:9000' } })
  t.equal(replaced.status, 200)
  t.equal(replaced.headers.location, undefined)
  const now = { ...shown, upstream: '[::1]:9000', visibility: 'private', revision: 2 }
  t.strictSame(replaced.json, now, 'private unless the body says otherwise')

  const read = await call('GET', ROUTE)
  t.equal(read.status, 200)
  t.match(read.headers, {
    etag: '"2"',
    'content-type': /^application\/json/,
    'cache-control': 'private, no-cache',
  })
  t.strictSame(read.json, now)
  const head = await call('HEAD', ROUTE)
  t.match(head, {
    status: 200,
    text: '',
    headers: { etag: '"2"', 'content-length': read.headers['content-length'] },
  })

  const deleted = await call('DELETE', ROUTE)
  t.match(deleted, { status: 204, text: '' })
  t.equal((await call('GET', ROUTE)).status, 404)
  t.equal((await call('HEAD', ROUTE)).status, 404)
  t.equal((await call('DELETE', ROUTE)).status, 404)
})

t.test('joins a VM into its route and follows the VM', async (t) => {
  const { call, store } = await adminFor(t)
  await putVm(store, VM)
  const body = { vm: 'hello', port: 8_000, visibility: 'public' }
  const created = await call('PUT', ROUTE, { body })
  const shown = { hostname: 'a.example', ...body, state: 'running', generation: 4 }
  t.strictSame(created.json, { ...shown, revision: 2 })
  t.match(await store.get('route/a.example'), { value: { upstream: { host: '::1', port: 41_000 } } })
  await putVm(store, { ...VM, state: 'stopped', generation: 5 })
  t.strictSame((await call('GET', ROUTE)).json, { ...shown, state: 'stopped', generation: 5, revision: 4 })
})

t.test('refuses a route to a VM that does not exist', async (t) => {
  const { call } = await adminFor(t)
  const answer = await call('PUT', ROUTE, { body: { vm: 'nobody', port: 80 } })
  t.equal(answer.status, 422)
  t.match(answer.json, { code: 'api_vm_unknown', field: '/vm', detail: /nobody/, next: /\/v1\/vms/ })
})

t.test('names the field of a body that is wrong', async (t) => {
  const { call, store } = await adminFor(t)
  const cases = [
    ['/upsteam', { upsteam: 'a:80' }],
    ['/state', { upstream: 'a:80', state: 'running' }],
    ['/upstream', { upstream: '127.0.0.1' }],
    ['/upstream', { upstream: 'http://127.0.0.1:80' }],
    ['/upstream', { upstream: { host: '127.0.0.1', port: 80 } }],
    ['/upstream', { upstream: null }],
    ['/upstream', { upstream: 'a:80', vm: 'hello', port: 80 }],
    ['/upstream', { upstream: 'a:80', port: 80 }],
    ['/visibility', { upstream: 'a:80', visibility: 'open' }],
    ['/visibility', { upstream: 'a:80', visibility: null }],
    ['/vm', { port: 80 }],
    ['/vm', { vm: '../a', port: 80 }],
    ['/port', { vm: 'hello' }],
    ['/port', { vm: 'hello', port: '80' }],
    ['/port', { vm: 'hello', port: 0 }],
    ['', {}],
    ['', { visibility: 'public' }],
    ['', 'null'],
  ] as const
  for (const [field, body] of cases) {
    const answer = await call('PUT', ROUTE, { body })
    t.equal(answer.status, 422, JSON.stringify(body))
    t.match(answer.json, { code: 'api_record_invalid', field, detail: String }, JSON.stringify(body))
  }
  t.equal((await store.list('')).revision, 0)
})

t.test('takes a host name in any form and stores it in one', async (t) => {
  const { call, store } = await adminFor(t)
  t.equal((await call('PUT', '/v1/routes/B%C3%9CCHER.Example.', { body: BARE })).status, 201)
  t.ok(await store.get('route/xn--bcher-kva.example'))
  t.equal((await call('GET', '/v1/routes/xn--bcher-kva.example')).status, 200)
  t.equal((await call('DELETE', '/v1/routes/b%C3%BCcher.example')).status, 204)
  const long = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.example`
  t.equal((await call('PUT', `/v1/routes/${long}`, { body: BARE })).status, 201)
})

t.test('refuses what is no host name', async (t) => {
  const { call } = await adminFor(t)
  for (const name of [
    'localhost',
    '127.0.0.1',
    '%5B::1%5D',
    '*.example',
    'a_b.example',
    'a%2Fb.example',
    '..%2Fa',
    'a:80',
  ]) {
    for (const method of ['GET', 'PUT', 'DELETE']) {
      const answer = await call(method, `/v1/routes/${name}`, method === 'PUT' ? { body: BARE } : {})
      t.equal(answer.status, 422, `${method} ${name}`)
      t.match(answer.json, { code: 'api_record_invalid', field: '/hostname' })
    }
  }
})

t.test("keeps the edge's own names for itself", async (t) => {
  const { call } = await adminFor(t)
  for (const name of ['admin.example.test', 'auth.example.test', 'ADMIN.example.test.']) {
    const answer = await call('PUT', `/v1/routes/${name}`, { body: BARE })
    t.equal(answer.status, 409, name)
    t.match(answer.json, { code: 'api_hostname_reserved' })
    t.equal((await call('DELETE', `/v1/routes/${name}`)).status, 409)
    t.equal((await call('GET', `/v1/routes/${name}`)).status, 404)
  }
  t.equal((await call('PUT', '/v1/routes/admin.other.test', { body: BARE })).status, 201)
})

t.test('honours If-Match and If-None-Match of writes', async (t) => {
  const { call } = await adminFor(t)
  const put = async (headers: Record<string, string>) => call('PUT', ROUTE, { body: BARE, headers })
  t.match(await put({ 'if-match': '*' }), { status: 412, headers: { etag: undefined } })
  t.match(await put({ 'if-match': '"1"' }), { status: 412, json: { code: 'api_revision_conflict' } })
  t.equal((await put({ 'if-none-match': '*' })).status, 201)
  t.match(await put({ 'if-none-match': '*' }), {
    status: 412,
    headers: { etag: '"1"' },
    json: { detail: /"1"/ },
  })
  t.match(await put({ 'if-none-match': 'W/"1"' }), { status: 412 })
  t.match(await put({ 'if-match': '"9"' }), { status: 412, headers: { etag: '"1"' } })
  t.match(await put({ 'if-match': 'W/"1"' }), { status: 412 }, 'a weak tag matches nothing')
  t.match(await put({ 'if-match': '"9", "1"' }), { status: 200, headers: { etag: '"2"' } })
  t.match(await put({ 'if-match': '*' }), { status: 200, headers: { etag: '"3"' } })
  t.match(await put({ 'if-none-match': '"9"' }), { status: 200 })
  for (const header of ['4', 'W/', '"4" "5"', '*, "4"', '"4']) {
    t.match(await put({ 'if-match': header }), { status: 400, json: { detail: /If-Match/ } }, header)
  }
  t.match(await call('DELETE', ROUTE, { headers: { 'if-match': '"1"' } }), {
    status: 412,
    headers: { etag: '"4"' },
  })
  t.equal((await call('DELETE', ROUTE, { headers: { 'if-match': '"4"' } })).status, 204)
  t.equal((await call('DELETE', ROUTE, { headers: { 'if-match': '"4"' } })).status, 404)
})

t.test('honours If-Match and If-None-Match of reads', async (t) => {
  const { call } = await adminFor(t)
  await call('PUT', ROUTE, { body: BARE })
  const get = async (headers: Record<string, string>) => call('GET', ROUTE, { headers })
  t.match(await get({ 'if-none-match': '"1"' }), { status: 304, text: '', headers: { etag: '"1"' } })
  t.match(await get({ 'if-none-match': '"7", W/"1"' }), { status: 304 })
  t.match(await get({ 'if-none-match': '*' }), { status: 304 })
  t.match(await get({ 'if-none-match': '"2"' }), { status: 200 })
  t.match(await get({ 'if-match': '"1"' }), { status: 200 })
  t.match(await get({ 'if-match': '"2"' }), { status: 412, headers: { etag: '"1"' } })
  t.match(await call('HEAD', ROUTE, { headers: { 'if-none-match': '"1"' } }), { status: 304 })
  t.match(await call('GET', '/v1/routes/b.example', { headers: { 'if-match': '"1"' } }), { status: 404 })
})

t.test('lets one of many writers that saw the same revision win', async (t) => {
  const { call } = await adminFor(t)
  await call('PUT', ROUTE, { body: BARE })
  const writes = Array.from({ length: 20 }, (_, n) =>
    call('PUT', ROUTE, { body: { upstream: `10.0.0.${n}:80` }, headers: { 'if-match': '"1"' } }),
  )
  const statuses = (await Promise.all(writes)).map(({ status }) => status).toSorted()
  t.strictSame(statuses, [200, ...Array.from({ length: 19 }, () => 412)])
})

t.test('carries out all of many writers without a precondition', async (t) => {
  const { call, store } = await adminFor(t)
  const writes = Array.from({ length: 20 }, () => call('PUT', ROUTE, { body: BARE }))
  const statuses = (await Promise.all(writes)).map(({ status }) => status).toSorted()
  t.strictSame(statuses, [...Array.from({ length: 19 }, () => 200), 201], 'one of them created it')
  t.equal((await store.list('')).revision, 20)
})

t.test('lists routes a page at a time', async (t) => {
  const { call } = await adminFor(t)
  t.strictSame((await call('GET', '/v1/routes')).json, { routes: [] })
  const names = ['a', 'b', 'c', 'd', 'e'].map((letter) => `${letter}.example`)
  for (const name of names) await call('PUT', `/v1/routes/${name}`, { body: BARE })
  const first = await call('GET', '/v1/routes?limit=2')
  t.match(first.json, {
    routes: [{ hostname: 'a.example', revision: 1 }, { hostname: 'b.example' }],
    next: 'b.example',
  })
  t.match((await call('GET', '/v1/routes?limit=2&after=b.example')).json, { next: 'd.example' })
  const last = await call('GET', '/v1/routes?limit=2&after=d.example')
  t.match(last.json, { routes: [{ hostname: 'e.example' }] })
  t.notOk('next' in last.json)
  t.equal((await call('HEAD', '/v1/routes')).status, 200)
})

t.test('leaves a broken record out of a listing, and lets it be written again', async (t) => {
  const { call, store, lines } = await adminFor(t)
  await store.put('route/a.example', { hostname: 'a.example' })
  await call('PUT', '/v1/routes/b.example', { body: BARE })
  t.match((await call('GET', '/v1/routes')).json, { routes: [{ hostname: 'b.example' }] })
  t.match(
    lines.filter(({ level }) => level === 'error'),
    [{ key: 'route/a.example' }],
  )
  t.match(await call('GET', ROUTE), { status: 500, json: { code: 'api_record_broken', next: /PUT/ } })
  t.equal((await call('PUT', ROUTE, { body: BARE })).status, 200)
  t.equal((await call('GET', ROUTE)).status, 200)
})

t.test('shows VMs, and lets nobody write them', async (t) => {
  const { call, store } = await adminFor(t)
  await putVm(store, VM)
  await putVm(store, { name: 'idle', state: 'stopped', generation: 1, ports: {} })
  const hello = {
    name: 'hello',
    state: 'running',
    generation: 4,
    ports: { '8000': '[::1]:41000' },
    revision: 1,
  }
  const idle = { name: 'idle', state: 'stopped', generation: 1, ports: {}, revision: 2 }
  t.strictSame((await call('GET', '/v1/vms')).json, { vms: [hello, idle] })
  t.strictSame((await call('GET', '/v1/vms?limit=1')).json, { vms: [hello], next: 'hello' })
  const one = await call('GET', '/v1/vms/hello')
  t.strictSame([one.status, one.headers.etag, one.json], [200, '"1"', hello])
  t.equal((await call('GET', '/v1/vms/hello', { headers: { 'if-none-match': '"1"' } })).status, 304)
  t.match(await call('GET', '/v1/vms/other'), { status: 404, json: { detail: /"other"/ } })
  t.match(await call('PUT', '/v1/vms/hello', { body: VM }), { status: 405 })
})

t.test('logs each write with its revision', async (t) => {
  const { call, lines } = await adminFor(t)
  await call('PUT', ROUTE, { body: BARE, headers: { 'x-request-id': 'r1' } })
  await call('DELETE', ROUTE)
  t.match(lines, [
    { level: 'info', hostname: 'a.example', revision: 1, requestId: 'r1' },
    { level: 'info', hostname: 'a.example', revision: 2 },
  ])
})

t.test('answers 503 while its store closes', async (t) => {
  const store = await startMemoryStore()
  const { call } = await adminFor(t, store)
  await store[Symbol.asyncDispose]()
  t.match(await call('GET', ROUTE), { status: 503, json: { code: 'store_closed', retryable: true } })
})
