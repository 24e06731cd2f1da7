/** How long streams of events last, how many there may be, and that nothing of them stays behind. */

import t, { type Test } from 'tap'
import { RoutingError } from '../../../routing/errors.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store, StoreSettings } from '../../../routing/store/store.ts'
import { until } from '../../helpers/until.ts'
import { type ApiOptions, apiFor, TOKEN } from './api-client.ts'
import { eventsFor } from './event-reader.ts'
import { putPool, scopedTokenFor } from './pools-and-tokens.ts'
import { outageOf, storeWith } from './watched-store.ts'

/** A second is promised; the rest is for a machine that is busy. */
const DEADLINE_MS = 3_000
const READ_ALL = [{ pool: '*', verbs: ['read'] }]

async function bedFor(t: Test, options: ApiOptions & StoreSettings = {}) {
  const inner = await startMemoryStore(options)
  t.teardown(() => inner[Symbol.asyncDispose]())
  const watches = { open: 0, pulled: 0 }
  const watched: Store['watch'] = async function* (from, signal, mark) {
    watches.open += 1
    try {
      for await (const event of inner.watch(from, signal, mark)) {
        watches.pulled += 1
        yield event
      }
    } finally {
      watches.open -= 1
    }
  }
  const store = new Proxy<Store>(inner, {
    get(target, name) {
      if (name === 'watch') return watched
      const value = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return { ...(await apiFor(t, { ...options, store })), watches }
}

function timers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
}

t.test('a stream ends with its token', async (t) => {
  const client = await bedFor(t)
  const { id, token } = await scopedTokenFor(client, READ_ALL)
  const reader = await eventsFor(t, client, { token })
  const other = await eventsFor(t, client)
  t.match(await client.call('DELETE', `/v1/tokens/${id}`), { status: 204 })
  await until(() => reader.isClosed, 'the end of the stream', DEADLINE_MS)
  t.ok(reader.isEnded, 'in order')
  t.notOk(other.isClosed)
  t.match(await client.call('GET', '/v1/events', { token }), { status: 401 })
})

t.test('a stream ends when its token loses a scope', async (t) => {
  const client = await bedFor(t)
  for (const pool of ['web', 'other']) await putPool(client, pool)
  const scopes = ['web', 'other'].map((pool) => ({ pool, verbs: ['read'] }))
  const { token } = await scopedTokenFor(client, scopes)
  const reader = await eventsFor(t, client, { token })
  t.match(await client.call('DELETE', '/v1/pools/web'), { status: 204 })
  await until(() => reader.isClosed, 'the end of the stream', DEADLINE_MS)
  const audit = await client.call('GET', '/v1/audit', { token })
  t.notMatch(audit.text, /"pool":"web"/)
})

t.test('a stream ends when its token runs out, also while the store is away', async (t) => {
  const clock = { now: Date.parse('2026-03-01T12:00:00Z') }
  const inner = await startMemoryStore()
  t.teardown(() => inner[Symbol.asyncDispose]())
  let isAway = false
  let refusals = 0
  const get: Store['get'] = async (key) => {
    if (!isAway) return inner.get(key)
    refusals += 1
    throw new RoutingError('store_unreachable')
  }
  const outage = outageOf(storeWith(inner, { get }))
  const client = await apiFor(t, { store: outage.outer, now: () => new Date(clock.now) })
  const body = { label: 'short', scopes: READ_ALL, expiresAt: '2026-03-01T12:01:00Z' }
  const { json } = await client.call('POST', '/v1/tokens', { body })
  const reader = await eventsFor(t, client, { token: String(json.token) })
  outage.leave()
  isAway = true
  clock.now += 59_000
  await until(() => reader.text.includes('the store is away'), 'a word of it')
  await until(() => refusals >= 2, 'the token was asked for twice in vain')
  t.notOk(reader.isClosed)
  clock.now += 1_000
  await until(() => reader.isClosed, 'the end of the stream', DEADLINE_MS)
})

t.test('a stream that nobody reads ends with its token as well', async (t) => {
  const client = await bedFor(t)
  const { id, token } = await scopedTokenFor(client, READ_ALL)
  const reader = await eventsFor(t, client, { token, isPaused: true })
  for (let n = 0; n < 3_000; n += 1) await putPool(client, `pool-${n}`)
  await client.call('DELETE', `/v1/tokens/${id}`)
  await until(() => client.watches.open === 0, 'the end of its watch', DEADLINE_MS)
  await until(() => reader.response.socket.destroyed, 'the end of its connection', DEADLINE_MS)
})

t.test('a reader that stands still holds up nothing but itself, and misses nothing', async (t) => {
  const client = await bedFor(t)
  const reader = await eventsFor(t, client, { isPaused: true })
  const count = 8_000
  for (let n = 0; n < count; n += 1) await putPool(client, `pool-${n}`)
  const { pulled } = client.watches
  t.ok(pulled < count / 4, `${pulled} reads of the feed`)
  const reading = eventsFor(t, client, { path: '/v1/events?after=0' })
  await (await reading).has(count)
  reader.start()
  await reader.has(count)
  t.strictSame(
    reader.events.map(({ data }) => data.name),
    Array.from({ length: count }, (_, n) => `pool-${n}`),
  )
})

t.test('a reader that stands still for too long is told to list again', async (t) => {
  const client = await bedFor(t, { feedLimit: 100 })
  const reader = await eventsFor(t, client, { isPaused: true })
  for (let n = 0; n < 4_000; n += 1) await putPool(client, `pool-${n}`)
  reader.start()
  await until(() => reader.told().includes('resync'), 'a resync')
  await putPool(client, 'last')
  await until(() => reader.told().at(-1) === 'pool put last', 'what comes then')
  t.equal(reader.told().filter((line) => line === 'resync').length, 1)
  t.ok(reader.events.length < 4_000)
})

t.test('nothing stays behind of clients that leave', async (t) => {
  const client = await bedFor(t)
  await eventsFor(t, client).then((reader) => reader.leave())
  await until(() => client.watches.open === 0, 'no watch')
  const before = timers()
  const readers = await Promise.all(Array.from({ length: 50 }, () => eventsFor(t, client)))
  await until(() => client.watches.open === 50, '50 watches')
  for (const reader of readers) reader.leave()
  await until(() => client.watches.open === 0, 'no watch')
  await until(() => timers() <= before, 'no timer')
})

t.test('a client that leaves before it is answered leaves nothing either', async (t) => {
  const client = await bedFor(t)
  for (let n = 0; n < 20; n += 1) {
    const connection = client.api.connect()
    connection.on('error', () => {})
    const head = `GET /v1/events HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${TOKEN}\r\n\r\n`
    connection.write(head)
    if (n % 2 === 0) await new Promise(setImmediate)
    connection.destroy()
  }
  await until(() => client.watches.open === 0, 'no watch')
  const { call } = client
  t.match(await call('GET', '/v1/pools'), { status: 200 })
  const readers = await Promise.all(Array.from({ length: 100 }, () => eventsFor(t, client)))
  t.ok(
    readers.every(({ status }) => status === 200),
    'all seats are free',
  )
})

t.test('the end of the API is the end of all streams', async (t) => {
  const client = await bedFor(t)
  const readers = await Promise.all(Array.from({ length: 10 }, () => eventsFor(t, client)))
  await until(() => client.watches.open === 10, '10 watches')
  await client.api[Symbol.asyncDispose]()
  await until(() => client.watches.open === 0, 'no watch')
  await until(() => readers.every(({ isClosed }) => isClosed), 'no stream')
})

t.test('a token has a hundred streams, and leaves some to others', async (t) => {
  const client = await bedFor(t)
  const tokens = [await scopedTokenFor(client, READ_ALL), await scopedTokenFor(client, READ_ALL)]
  const open = (token: string) => eventsFor(t, client, { token })
  const [one = '', other = ''] = tokens.map(({ token }) => token)
  const first = await Promise.all(Array.from({ length: 100 }, () => open(one)))
  t.ok(first.every(({ status }) => status === 200))
  const refused = await open(one)
  t.match(refused, { status: 429, headers: { 'retry-after': '10' } })
  t.match(await client.call('GET', '/v1/events', { token: one }), { json: { code: 'api_rate_limited' } })
  for (let count = 0; count < 60; count += 1) t.equal((await open(other)).status, 200)
  t.equal((await eventsFor(t, client)).status, 200, 'a third one finds a place')
  const { open: before } = client.watches
  for (const reader of first.slice(0, 40)) reader.leave()
  await until(() => client.watches.open === before - 40, 'places are free')
  t.equal((await open(one)).status, 200)
})

t.test('HEAD takes no place', async (t) => {
  const client = await bedFor(t)
  for (let n = 0; n < 120; n += 1) t.equal((await client.call('HEAD', '/v1/events')).status, 200)
  t.equal(client.watches.open, 0)
})
