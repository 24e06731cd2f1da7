/** `/v1/table/accept`: an operator's word for a store that lost its data, which edges look for. */

import t from 'tap'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { apiFor } from './api-client.ts'
import { scopedTokenFor } from './pools-and-tokens.ts'

t.test('accepts the store as it is, once', async (t) => {
  const { call, store } = await apiFor(t, { now: () => new Date('2026-03-01T12:00:00Z') })
  const { storeId } = await store.list('')
  const first = await call('POST', '/v1/table/accept')
  t.match(first, { status: 201, json: { storeId, at: '2026-03-01T12:00:00.000Z', by: 'bootstrap' } })
  t.match(await store.get(`accept/${storeId}`), { value: { by: 'bootstrap' } })
  const again = await call('POST', '/v1/table/accept')
  t.match(again, { status: 200, json: first.json })
  const { json } = await call('GET', '/v1/audit')
  t.match(json, { audit: [{ action: 'create', key: `accept/${storeId}`, who: 'bootstrap' }] })
  t.equal((json.audit as unknown[]).length, 1)
})

t.test('gives a store that was never written to its identity first', async (t) => {
  const inner = await startMemoryStore()
  t.teardown(() => inner[Symbol.asyncDispose]())
  const store = new Proxy<Store>(inner, {
    get(target, name) {
      const value = Reflect.get(target, name)
      if (name !== 'list') return typeof value === 'function' ? value.bind(target) : value
      return async (...args: Parameters<Store['list']>) => {
        const page = await target.list(...args)
        return page.revision === 0 ? { ...page, storeId: '' } : page
      }
    },
  })
  const { call } = await apiFor(t, { store })
  const { storeId } = await inner.list('')
  t.match(await call('POST', '/v1/table/accept'), { status: 201, json: { storeId } })
  const { documents } = await inner.list('accept/')
  t.strictSame(
    documents.map(({ key }) => key),
    [`accept/${storeId}`],
  )
})

t.test('the same Idempotency-Key has one answer', async (t) => {
  const { call } = await apiFor(t)
  const headers = { 'idempotency-key': 'k1' }
  t.equal((await call('POST', '/v1/table/accept', { headers })).status, 201)
  t.equal((await call('POST', '/v1/table/accept', { headers })).status, 201)
})

t.test('is for those who are admin over all pools', async (t) => {
  const client = await apiFor(t)
  const scopes = [[{ pool: 'web', verbs: ['admin'] }], [{ pool: '*', verbs: ['read', 'write', 'share'] }]]
  for (const scope of scopes) {
    const { token } = await scopedTokenFor(client, scope)
    t.match(await client.call('POST', '/v1/table/accept', { token }), { status: 403 })
  }
  t.strictSame((await client.store.list('accept/')).documents, [])
  t.match(await client.call('GET', '/v1/table/accept'), { status: 405, headers: { allow: 'POST' } })
})
