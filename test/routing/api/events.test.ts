/** `/v1/events`: every change as it happens, and nothing that the API keeps to itself. */

import t from 'tap'
import { until } from '../../helpers/until.ts'
import { apiFor } from './api-client.ts'
import { eventsFor } from './event-reader.ts'
import { putGrant, putReport, putVm } from './event-records.ts'
import { putPool, scopedTokenFor } from './pools-and-tokens.ts'

const AT = '2026-01-01T00:00:00Z'

t.test('tells every change from now on, in order, with its record', async (t) => {
  const client = await apiFor(t)
  await putPool(client, 'early')
  const reader = await eventsFor(t, client)
  t.match(reader, { status: 200, headers: { 'content-type': /^text\/event-stream/ } })
  t.equal(reader.headers['cache-control'], 'private, no-cache')
  await until(() => reader.text !== '', 'the first words')
  t.match(reader.text, /^retry: 1000\nid: 1\n\n/)
  await putPool(client, 'web')
  await client.store.delete('pool/web')
  await reader.has(2)
  t.strictSame(reader.events, [
    {
      type: 'pool',
      id: '2',
      data: {
        revision: 2,
        kind: 'pool',
        name: 'web',
        action: 'put',
        record: { name: 'web', cpuMillis: 1_000, memoryBytes: 1, diskBytes: 1, createdAt: AT },
      },
    },
    { type: 'pool', id: '3', data: { revision: 3, kind: 'pool', name: 'web', action: 'delete' } },
  ])
})

t.test('tells of each kind that the API has, and of nothing that it keeps to itself', async (t) => {
  const client = await apiFor(t)
  const { store } = client
  const reader = await eventsFor(t, client)
  await putVm(store, 'v1', 'web')
  await putReport(store, 'v1')
  await putGrant(store, 'v1', 'g1')
  await store.put('domain/a.test', {
    hostname: 'a.test',
    vm: 'v1',
    challenge: 'c',
    state: 'pending',
    createdAt: AT,
  })
  await store.put('host/h1', {
    name: 'h1',
    cpuMillis: 1,
    memoryBytes: 1,
    diskBytes: 1,
    images: [],
    version: '1',
    startedAt: AT,
  })
  await store.put('edge/e1', { name: 'e1', version: '1', startedAt: AT })
  const hidden = [
    'usage/web/x/y',
    'audit/1',
    'idempotency/a/b',
    'bootstrap/used',
    'accept/1',
    'seed/a',
    'claim/a/b',
    'poolx',
    '__proto__/x',
    'constructor/x',
    'session/x',
  ]
  for (const key of hidden) await store.put(key, { digest: 'secret' })
  await client.call('PUT', '/v1/pools/web', {
    body: { cpuMillis: 1_000, memoryBytes: 1, diskBytes: 1, host: 'h1' },
  })
  const { id, token } = await scopedTokenFor(client, [{ pool: '*', verbs: ['read'] }])
  await reader.has(9)
  t.strictSame(reader.told(), [
    'vm put v1',
    'route put v1.example.test',
    'report put v1',
    'grant put v1/g1',
    'domain put a.test',
    'host put h1',
    'edge put e1',
    'pool put web',
    `token put ${id}`,
  ])
  t.notMatch(reader.text, /digest/)
  t.notMatch(reader.text, token.split('_')[2] ?? 'no secret')
  t.match(reader.events.at(-1)?.data.record, { id, label: 'test' })
})

t.test('a record that breaks a rule is told without its contents', async (t) => {
  const client = await apiFor(t)
  const reader = await eventsFor(t, client)
  await client.store.put('vm/odd', { name: 'odd', secret: 'x' })
  await reader.has(1)
  t.strictSame(reader.events[0]?.data, { revision: 1, kind: 'vm', name: 'odd', action: 'put' })
})

t.test('HEAD says what GET would send, and ends', async (t) => {
  const { call } = await apiFor(t)
  t.match(await call('HEAD', '/v1/events'), {
    status: 200,
    headers: { 'content-type': /^text\/event-stream/ },
  })
  t.match(await call('POST', '/v1/events'), { status: 405, headers: { allow: 'GET, HEAD' } })
  t.match(await call('GET', '/v1/events', { token: '' }), { status: 401 })
})

t.test('is in OpenAPI', async (t) => {
  const { call } = await apiFor(t)
  const { json } = await call('GET', '/v1/openapi.json', { token: '' })
  t.match(json, {
    paths: { '/v1/events': { get: { responses: { 200: { content: { 'text/event-stream': {} } } } } } },
  })
})
