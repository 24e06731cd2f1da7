/** `/v1/events` across broken connections, a trimmed feed and an absent store: nothing is missed without a word. */

import t from 'tap'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import { until } from '../../helpers/until.ts'
import { apiFor } from './api-client.ts'
import { eventsFor } from './event-reader.ts'
import { putPool } from './pools-and-tokens.ts'
import { outageOf, spyOn } from './watched-store.ts'

t.test('goes on behind the event that the client had last', async (t) => {
  const client = await apiFor(t)
  for (const name of ['a', 'b', 'c']) await putPool(client, name)
  const ways = [
    { headers: { 'last-event-id': '1' } },
    { path: '/v1/events?after=1' },
    { path: '/v1/events?after=3', headers: { 'last-event-id': '1' } },
    { path: '/v1/events?after=1', headers: { 'last-event-id': '' } },
  ]
  for (const way of ways) {
    const reader = await eventsFor(t, client, way)
    await reader.has(2)
    t.strictSame(reader.told(), ['pool put b', 'pool put c'], JSON.stringify(way))
    reader.leave()
  }
  const all = await eventsFor(t, client, { path: '/v1/events?after=0' })
  await all.has(3)
})

t.test('a client that comes back again and again misses and repeats nothing', async (t) => {
  const client = await apiFor(t)
  const seen: string[] = []
  let lastId = ''
  const first = await eventsFor(t, client)
  await until(() => first.lastId !== '', 'an id before the first event')
  lastId = first.lastId
  first.leave()
  for (let n = 0; n < 20; n += 1) {
    await putPool(client, `p${2 * n}`)
    const reader = await eventsFor(t, client, { headers: { 'last-event-id': lastId } })
    await reader.has(1)
    await putPool(client, `p${2 * n + 1}`)
    await reader.has(2)
    seen.push(...reader.events.map(({ data }) => data.name))
    lastId = reader.lastId
    reader.leave()
  }
  t.strictSame(
    seen,
    Array.from({ length: 40 }, (_, n) => `p${n}`),
  )
})

t.test('says resync when the feed does not reach back so far, and goes on from there', async (t) => {
  const store = await startMemoryStore({ feedLimit: 5 })
  t.teardown(() => store[Symbol.asyncDispose]())
  const client = await apiFor(t, { store })
  for (let n = 0; n < 20; n += 1) await putPool(client, `p${n}`)
  const reader = await eventsFor(t, client, { headers: { 'last-event-id': '3' } })
  await reader.has(1)
  t.strictSame(reader.events, [{ type: 'resync', id: '20', data: { revision: 20 } }])
  await putPool(client, 'next')
  await reader.has(2)
  t.strictSame(reader.told(), ['resync', 'pool put next'])
})

t.test('says resync to an id that the store has not reached', async (t) => {
  const client = await apiFor(t)
  await putPool(client, 'a')
  for (const id of ['2', '999999999999999']) {
    const reader = await eventsFor(t, client, { headers: { 'last-event-id': id } })
    await reader.has(1)
    t.strictSame(reader.events, [{ type: 'resync', id: '1', data: { revision: 1 } }])
    reader.leave()
  }
})

t.test('refuses ids that are none, and never asks the store for them', async (t) => {
  const inner = await startMemoryStore()
  t.teardown(() => inner[Symbol.asyncDispose]())
  const watched: (readonly [number, string | undefined])[] = []
  const store = spyOn(inner, watched)
  const client = await apiFor(t, { store })
  await putPool(client, 'a')
  const huge = `1${'0'.repeat(300)}`
  const ids = [
    'x',
    '-1',
    '1.5',
    '1e3',
    '0x10',
    ' ',
    '1,2',
    'NaN',
    'Infinity',
    '9007199254740993',
    huge,
    'null',
    '١',
  ]
  for (const id of ids) {
    const query = `?after=${encodeURIComponent(id)}`
    t.match(
      await client.call('GET', `/v1/events${query}`),
      { status: 400, json: { code: 'api_request_malformed' } },
      id,
    )
    if (!/^[\x21-\x7e]+$/.test(id)) continue
    const headers = { 'last-event-id': id }
    t.match(await client.call('GET', '/v1/events', { headers }), { status: 400 }, `header ${id}`)
  }
  t.match(await client.call('GET', '/v1/events', { headers: { 'last-event-id': ['1', '1'] } }), {
    status: 400,
  })
  t.match(await client.call('GET', '/v1/events?after='), { status: 400 })
  t.match(await client.call('GET', '/v1/events?before=1'), { status: 400 })
  t.match(await client.call('GET', '/v1/events?pool=A'), { status: 400 })
  const futures = await eventsFor(t, client, { path: '/v1/events?after=999999999999999' })
  const present = await eventsFor(t, client, { path: '/v1/events?after=1' })
  await futures.has(1)
  await putPool(client, 'b')
  await present.has(1)
  const { mark } = await inner.list('')
  t.strictSame(watched, [
    [1, mark],
    [1, undefined],
  ])
  t.equal((await inner.list('')).revision, 2, 'the store counts on as before')
})

t.test('a store that is away is said once, and everything comes when it is back', async (t) => {
  const inner = await startMemoryStore()
  t.teardown(() => inner[Symbol.asyncDispose]())
  const store = outageOf(inner)
  const client = await apiFor(t, { store: store.outer })
  const reader = await eventsFor(t, client)
  await putPool(client, 'a')
  await reader.has(1)
  store.leave()
  await until(() => store.attempts() > 2, 'some attempts')
  await putPool(client, 'b')
  t.strictSame(reader.told(), ['pool put a'])
  t.equal(reader.text.split(': the store is away').length, 2)
  store.comeBack()
  await putPool(client, 'c')
  await reader.has(3)
  t.strictSame(reader.told(), ['pool put a', 'pool put b', 'pool put c'])
  t.notOk(reader.isClosed)
})

t.test('an absent store at the start is an error that can be tried again', async (t) => {
  const inner = await startMemoryStore()
  const client = await apiFor(t, { store: inner })
  await inner[Symbol.asyncDispose]()
  t.match(await client.call('GET', '/v1/events'), { status: 503, json: { retryable: true } })
})
