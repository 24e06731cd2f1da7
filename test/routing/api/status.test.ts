/** `/v1/status`: counts for operators, and an answer even while the store is away. */

import t from 'tap'
import { RoutingError } from '../../../routing/errors.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { apiFor } from './api-client.ts'
import { scopedTokenFor } from './pools-and-tokens.ts'

const TABLE = { revision: 17, status: () => ({ source: 'store', rows: 3 }) } as never

t.test('tells what is there and what is alive', async (t) => {
  const { call, store } = await apiFor(t, { table: TABLE })
  for (let n = 0; n < 3; n += 1) await store.put(`pool/p${n}`, {})
  for (let n = 0; n < 5; n += 1) await store.put(`vm/v${n}`, {})
  for (const key of ['host/a', 'host/b', 'edge/a']) await store.put(key, {})
  await store.acquireLease('host/a', 'x', 60_000)
  const { storeId, revision } = await store.list('')
  t.strictSame((await call('GET', '/v1/status')).json, {
    store: { isReachable: true, revision, storeId },
    table: { source: 'store', rows: 3 },
    counts: { pools: 3, vms: 5 },
    hosts: { alive: 1, dead: 1 },
    edges: { alive: 0, dead: 1 },
  })
})

t.test('counts are for those who may read all pools', async (t) => {
  const client = await apiFor(t, { table: TABLE })
  const { token } = await scopedTokenFor(client, [{ pool: 'web', verbs: ['read', 'admin'] }])
  const { json } = await client.call('GET', '/v1/status', { token })
  t.strictSame(Object.keys(json).sort(), ['store', 'table'])
})

t.test('many who ask at once make one count, which is counted anew when it failed', async (t) => {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  let listings = 0
  let isAway = true
  const list: Store['list'] = (prefix, page) => {
    if (prefix !== 'vm/') return store.list(prefix, page)
    listings += 1
    return isAway ? Promise.reject(new RoutingError('store_unreachable')) : store.list(prefix, page)
  }
  const { call } = await apiFor(t, { store: withList(store, list), table: TABLE })
  t.match((await call('GET', '/v1/status')).json, { store: { isReachable: false } })
  isAway = false
  const answers = await Promise.all(Array.from({ length: 20 }, () => call('GET', '/v1/status')))
  t.ok(answers.every(({ json }) => 'counts' in json))
  t.equal(listings, 2)
})

t.test('answers while the store is away', async (t) => {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const list = () => Promise.reject(new RoutingError('store_unreachable'))
  const { call } = await apiFor(t, { store: withList(store, list), table: TABLE })
  const { status, json } = await call('GET', '/v1/status')
  t.equal(status, 200)
  t.strictSame(json, {
    store: { isReachable: false, code: 'store_unreachable' },
    table: { source: 'store', rows: 3 },
  })
})

function withList(store: Store, list: Store['list']): Store {
  return new Proxy(store, {
    get(target, name) {
      if (name === 'list') return list
      const value = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
