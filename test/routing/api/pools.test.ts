/** Pools as a resource, and with them what holds for every resource: preconditions, pages, audit, broken records. */

import t from 'tap'
import type { Store } from '../../../routing/store/store.ts'
import { apiFor, tokenFor } from './api-client.ts'

const GIB = 1_073_741_824
const BODY = { cpuMillis: 1_500, memoryBytes: GIB, diskBytes: 2 * GIB, host: 'local' }
const { host: _host, ...UNPLACED } = BODY
const ITEM = '/v1/pools/web'

async function addHost(store: Store, name: string, memoryBytes: number, isAlive = true): Promise<void> {
  const startedAt = '2030-01-01T00:00:00Z'
  const record = { name, cpuMillis: 1, memoryBytes, diskBytes: 1, images: [], version: '1', startedAt }
  await store.put(`host/${name}`, record)
  if (isAlive) await store.acquireLease(`host/${name}`, 'run', 60_000)
}

t.test('buys, shows, resizes and gives back a pool', async (t) => {
  const { call, store } = await apiFor(t, { now: () => new Date('2030-01-01T00:00:00Z') })
  const bought = await call('PUT', ITEM, { body: BODY })
  const shown = { name: 'web', ...BODY, createdAt: '2030-01-01T00:00:00.000Z' }
  t.match(bought, { status: 201, headers: { location: ITEM, etag: '"1"' } })
  t.strictSame(bought.json, { ...shown, revision: 1 })
  t.strictSame((await call('GET', ITEM)).json, { ...shown, revision: 1 })
  t.strictSame((await store.get('pool/web'))?.value, shown)

  const resized = await call('PUT', ITEM, { body: { ...UNPLACED, cpuMillis: 3_000 } })
  t.match(resized, { status: 200, headers: { location: undefined, etag: '"3"' } })
  t.strictSame(resized.json, { ...shown, cpuMillis: 3_000, revision: 3 }, 'it stays on its host')
  const same = await call('PUT', ITEM, { body: { ...UNPLACED, cpuMillis: 3_000 } })
  t.strictSame([same.status, same.json.revision], [200, 3], 'what changes nothing takes no revision')

  const head = await call('HEAD', ITEM)
  t.match(head, { status: 200, text: '', headers: { etag: '"3"' } })
  t.match(await call('DELETE', ITEM), { status: 204, text: '' })
  for (const method of ['GET', 'HEAD', 'DELETE']) t.equal((await call(method, ITEM)).status, 404)
})

t.test('places a pool on the live host with the most room', async (t) => {
  const { call, store } = await apiFor(t)
  t.match(await call('PUT', ITEM, { body: UNPLACED }), {
    status: 503,
    json: { code: 'api_host_unavailable', detail: /No host is alive/ },
  })
  await addHost(store, 'small', 2 * GIB)
  await addHost(store, 'large', 3 * GIB)
  await addHost(store, 'dead', 100 * GIB, false)
  const hosts = []
  for (const name of ['a', 'b', 'c', 'd']) {
    hosts.push((await call('PUT', `/v1/pools/${name}`, { body: UNPLACED })).json.host)
  }
  t.strictSame(hosts, ['large', 'large', 'small', 'large'], 'the first of equals')
  const big = await call('PUT', '/v1/pools/e', { body: { ...UNPLACED, memoryBytes: 2 * GIB } })
  t.match(big, {
    status: 503,
    json: { detail: `The roomiest host, "small", has ${GIB} bytes of memory left.` },
  })
})

t.test('does not give back a pool that holds a VM', async (t) => {
  const { call, store } = await apiFor(t)
  await call('PUT', ITEM, { body: BODY })
  const vm = {
    name: 'a',
    pool: 'web',
    image: 'hello',
    state: 'running',
    ports: {},
    createdAt: '2030-01-01T00:00:00Z',
  }
  await store.put('vm/a', vm)
  t.match(await call('DELETE', ITEM), { status: 409, json: { code: 'api_pool_in_use', detail: /"a"/ } })
  await store.delete('vm/a')
  t.equal((await call('DELETE', ITEM)).status, 204)
})

t.test('gives whole pages, whatever order they were written in', async (t) => {
  const { call } = await apiFor(t)
  t.strictSame((await call('GET', '/v1/pools')).json, { pools: [] })
  for (const name of ['c', 'a', 'e', 'd', 'b']) await call('PUT', `/v1/pools/${name}`, { body: BODY })
  const first = await call('GET', '/v1/pools?limit=2')
  t.match(first.json, { pools: [{ name: 'a' }, { name: 'b' }], next: 'b' })
  t.match((await call('GET', '/v1/pools?limit=2&after=b')).json, {
    pools: [{ name: 'c' }, { name: 'd' }],
    next: 'd',
  })
  const last = await call('GET', '/v1/pools?limit=2&after=d')
  t.match(last.json, { pools: [{ name: 'e' }] })
  t.notOk('next' in last.json)
  t.equal((await call('HEAD', '/v1/pools')).status, 200)
})

t.test('shows a token the pools that it may read, and hides the others', async (t) => {
  const client = await apiFor(t)
  const { call } = client
  for (const name of ['a', 'b', 'c']) await call('PUT', `/v1/pools/${name}`, { body: BODY })
  const { token } = await tokenFor(client, [
    { pool: 'b', verbs: ['read'] },
    { pool: 'c', verbs: ['write', 'admin'] },
  ])
  const listed = await call('GET', '/v1/pools', { token })
  t.strictSame(
    (listed.json.pools as { name: string }[]).map(({ name }) => name),
    ['b'],
  )
  t.match((await call('GET', '/v1/pools?limit=1', { token })).json, { pools: [], next: 'a' })
  t.equal((await call('GET', '/v1/pools/b', { token })).status, 200)
  const hidden = await call('GET', '/v1/pools/a', { token })
  const missing = await call('GET', '/v1/pools/nope', { token })
  t.strictSame([hidden.status, missing.status], [404, 404])
  t.equal(hidden.json.detail, 'There is no pool "a".', 'as for one that is not there')
  for (const [method, body] of [
    ['PUT', BODY],
    ['DELETE', undefined],
  ] as const) {
    const answer = await call(method, '/v1/pools/c', { token, body })
    t.match(answer, { status: 403, json: { code: 'api_forbidden', detail: /"admin" over all pools/ } })
  }
})

t.test('honours If-Match and If-None-Match of writes', async (t) => {
  const { call } = await apiFor(t)
  let cpuMillis = 1_000
  const put = async (headers: Record<string, string>) => {
    cpuMillis += 1
    return call('PUT', ITEM, { body: { ...BODY, cpuMillis }, headers })
  }
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
  t.match(await put({ 'if-match': '"9", "1"' }), { status: 200, headers: { etag: '"3"' } })
  t.match(await put({ 'if-match': '*' }), { status: 200, headers: { etag: '"5"' } })
  t.match(await put({ 'if-none-match': '"9"' }), { status: 200, headers: { etag: '"7"' } })
  for (const header of ['4', 'W/', '"4" "5"', '*, "4"', '"4']) {
    t.match(await put({ 'if-match': header }), { status: 400, json: { detail: /If-Match/ } }, header)
  }
  const remove = async (tag: string) => call('DELETE', ITEM, { headers: { 'if-match': tag } })
  t.match(await remove('"1"'), { status: 412, headers: { etag: '"7"' } })
  t.equal((await remove('"7"')).status, 204)
  t.equal((await remove('"7"')).status, 404)
})

t.test('honours If-Match and If-None-Match of reads', async (t) => {
  const { call } = await apiFor(t)
  await call('PUT', ITEM, { body: BODY })
  const get = async (headers: Record<string, string>) => call('GET', ITEM, { headers })
  t.match(await get({ 'if-none-match': '"1"' }), { status: 304, text: '', headers: { etag: '"1"' } })
  t.match(await get({ 'if-none-match': '"7", W/"1"' }), { status: 304 })
  t.match(await get({ 'if-none-match': '*' }), { status: 304 })
  t.match(await get({ 'if-none-match': '"2"' }), { status: 200 })
  t.match(await get({ 'if-match': '"1"' }), { status: 200 })
  t.match(await get({ 'if-match': '"2"' }), { status: 412, headers: { etag: '"1"' } })
  t.match(await call('HEAD', ITEM, { headers: { 'if-none-match': '"1"' } }), { status: 304 })
  t.match(await call('GET', '/v1/pools/b', { headers: { 'if-match': '"1"' } }), { status: 404 })
})

t.test('lets one of many writers that saw the same revision win', async (t) => {
  const { call } = await apiFor(t)
  await call('PUT', ITEM, { body: BODY })
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      call('PUT', ITEM, { body: { ...BODY, cpuMillis: 2_000 + index }, headers: { 'if-match': '"1"' } }),
    ),
  )
  t.strictSame(answers.map(({ status }) => status).sort(), [200, ...Array.from({ length: 19 }, () => 412)])
})

t.test('carries out every write that names no revision, one after the other', async (t) => {
  const { call, store } = await apiFor(t)
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      call('PUT', ITEM, { body: { ...BODY, cpuMillis: 2_000 + index } }),
    ),
  )
  t.equal(answers.filter(({ status }) => status === 201).length, 1)
  t.equal(answers.filter(({ status }) => status === 200).length, 19)
  t.equal((await store.list('audit/')).documents.length, 20)
})

t.test('lets a broken record be seen, repaired and deleted, by who may do everything', async (t) => {
  const client = await apiFor(t)
  const { call, store, lines } = client
  await call('PUT', '/v1/pools/good', { body: BODY })
  const { token } = await tokenFor(client, [{ pool: '*', verbs: ['read', 'write', 'share'] }])
  await store.put('pool/web', { name: 'web' })
  t.match((await call('GET', '/v1/pools')).json, { pools: [{ name: 'good' }] })
  t.match(
    lines.filter(({ level }) => level === 'error'),
    [{ key: 'pool/web' }],
  )
  t.match(await call('GET', ITEM), { status: 500, json: { code: 'api_record_broken', next: /PUT/ } })
  t.equal((await call('DELETE', ITEM, { token })).status, 403)
  const put = await call('PUT', ITEM, { body: BODY })
  t.equal(put.status, 200)
  t.equal((await call('GET', ITEM)).status, 200)
  await store.put('pool/web', { name: 'other' })
  t.equal((await call('DELETE', ITEM, { headers: { 'if-match': '"1"' } })).status, 412)
  t.equal((await call('DELETE', ITEM)).status, 204)
  // By their keys, those of one millisecond have no order.
  const documents = (await store.list('audit/')).documents.toSorted((a, b) => a.revision - b.revision)
  const audits = documents.map(({ value }) => value)
  t.match(
    audits.filter(({ key }) => key === 'pool/web'),
    [
      { action: 'update', before: { name: 'web' } },
      { action: 'delete', before: { name: 'other' } },
    ],
  )
})

t.test('logs each write with its revision, and says who it was', async (t) => {
  const { call, lines } = await apiFor(t)
  await call('PUT', ITEM, { body: BODY, headers: { 'x-request-id': 'r1' } })
  await call('PUT', ITEM, { body: BODY })
  await call('DELETE', ITEM)
  t.match(lines, [
    { level: 'info', key: 'pool/web', revision: 1, requestId: 'r1', who: 'bootstrap' },
    { level: 'info', key: 'pool/web', revision: 3 },
  ])
  t.equal(lines.length, 2, 'what changes nothing is no write')
})
