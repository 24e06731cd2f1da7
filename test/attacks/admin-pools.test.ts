/** Attacks on pools that change hands: what is made at the moment a pool is given back, and what its next owner sees. */

import t, { type Test } from 'tap'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import type { Store } from '../../routing/store/store.ts'
import { type ApiClient, apiFor, tokenFor } from '../routing/api/api-client.ts'
import { storeWith } from '../routing/api/watched-store.ts'

const ALL = ['read', 'write', 'share', 'admin']
const POOL = { cpuMillis: 1_000, memoryBytes: 1, diskBytes: 1, host: 'h1' }
const WEB = '/v1/pools/web'
const TOKENS = '/v1/tokens'

/** An API with the pool `web`; what `meanwhile` is given happens once, just before a commit that writes such a key. */
async function racedFor(t: Test) {
  const inner = await startMemoryStore()
  t.teardown(() => inner[Symbol.asyncDispose]())
  let race: { readonly prefix: string; readonly run: () => Promise<unknown> } | undefined
  const commit: Store['commit'] = async (mutations) => {
    const { prefix = '', run } = race ?? {}
    const isIt = mutations.some(({ key, isCheck }) => !isCheck && key.startsWith(prefix))
    if (run && isIt) {
      race = undefined
      await run()
    }
    return inner.commit(mutations)
  }
  const client = await apiFor(t, { store: storeWith(inner, { commit }) })
  await client.call('PUT', WEB, { body: POOL })
  const meanwhile = (prefix: string, run: () => Promise<unknown>) => {
    race = { prefix, run }
  }
  return { ...client, meanwhile }
}

const giveBack = async (t: Test, { call }: ApiClient) => {
  t.equal((await call('DELETE', WEB)).status, 204)
}

t.test('no token of a pool outlives it', async (t) => {
  const client = await racedFor(t)
  const { call, meanwhile } = client
  const owner = await tokenFor(client, [{ pool: 'web', verbs: ALL }])
  const body = { label: 'left over', scopes: [{ pool: 'web', verbs: ALL }] }
  meanwhile('token/', () => giveBack(t, client))
  t.match(await call('POST', TOKENS, { body }), { status: 422, json: { code: 'api_pool_unknown' } })
  await call('PUT', WEB, { body: POOL })
  const other = await tokenFor(client, [{ pool: 'web', verbs: ALL }])
  meanwhile('token/', () => giveBack(t, client))
  t.match(await call('POST', TOKENS, { body, token: other.token }), { status: 401 }, 'nor its own maker')
  t.equal((await call('GET', WEB, { token: owner.token })).status, 401)
  t.strictSame((await client.store.list('token/')).documents, [])
})

t.test('a pool is not given back while a token is made for it', async (t) => {
  const client = await racedFor(t)
  const { call, meanwhile, store } = client
  meanwhile('pool/', () => tokenFor(client, [{ pool: 'web', verbs: ALL }]))
  t.equal((await call('DELETE', WEB)).status, 204)
  t.strictSame((await store.list('token/')).documents, [], 'it was taken back with the pool')
})

t.test('a token that was ended makes no other one', async (t) => {
  const client = await racedFor(t)
  const { call, meanwhile, store } = client
  const parent = await tokenFor(client, [{ pool: '*', verbs: ALL }])
  meanwhile('token/', () => call('DELETE', `${TOKENS}/${parent.id}`))
  const body = { label: 'child', scopes: [{ pool: '*', verbs: ['read'] }] }
  t.match(await call('POST', TOKENS, { body, token: parent.token }), { status: 401 })
  t.strictSame((await store.list('token/')).documents, [])
})

t.test('a token that lost a pool gives it to no other one', async (t) => {
  const client = await racedFor(t)
  const { call, meanwhile } = client
  await call('PUT', '/v1/pools/db', { body: POOL })
  const scopes = ['web', 'db'].map((pool) => ({ pool, verbs: ALL }))
  const parent = await tokenFor(client, scopes)
  meanwhile('token/', async () => {
    await giveBack(t, client)
    await call('PUT', WEB, { body: POOL })
  })
  const body = { label: 'child', scopes: [{ pool: 'web', verbs: ['read'] }] }
  t.match(await call('POST', TOKENS, { body, token: parent.token }), { status: 403 })
})

t.test('no VM comes into a pool that is given back', async (t) => {
  const client = await racedFor(t)
  const { call, meanwhile } = client
  for (const [method, path] of [
    ['POST', '/v1/vms'],
    ['PUT', '/v1/vms/a'],
  ] as const) {
    await call('PUT', WEB, { body: POOL })
    meanwhile('vm/', () => giveBack(t, client))
    const answer = await call(method, path, { body: { pool: 'web' } })
    t.match(answer, { status: 422, json: { code: 'api_pool_unknown', field: '/pool' } }, path)
    t.strictSame((await client.store.list('vm/')).documents, [])
  }
})

t.test('a pool is not given back when a VM comes into it at that moment', async (t) => {
  const client = await racedFor(t)
  const { call, meanwhile, store } = client
  for (const name of ['first', 'second']) {
    meanwhile('pool/', () => call('PUT', `/v1/vms/${name}`, { body: { pool: 'web' } }))
    t.match(await call('DELETE', WEB), { status: 409, json: { code: 'api_pool_in_use' } })
    t.equal((await call('DELETE', `/v1/vms/${name}`)).status, 204)
  }
  t.equal((await call('DELETE', WEB)).status, 204)
  t.strictSame((await store.list('inside/')).documents, [], 'nothing is left of the pool')
})

t.test('the next owner of a name sees nothing of the one before', async (t) => {
  const clock = { now: Date.parse('2030-01-01T10:30:00Z') }
  const client = await apiFor(t, { now: () => new Date(clock.now) })
  const { call, store } = client
  const read = [{ pool: 'web', verbs: ['read'] }]
  const keysFor = async (token: string) => {
    const { audit } = (await call('GET', '/v1/audit', { token })).json as { audit: { key: string }[] }
    return audit.map(({ key }) => key).sort()
  }
  const use = (hour: string, requests: number) => {
    const counts = { cpuSeconds: 0, memoryByteSeconds: 0, diskBytes: 0, replicatedBytes: 0, egressBytes: 0 }
    return store.put(`usage/web/${hour}/e1`, {
      ...{ pool: 'web', hour, source: 'e1' },
      counts: { ...counts, requests },
    })
  }
  await call('PUT', WEB, { body: POOL })
  const { token: old } = await tokenFor(client, read)
  await call('PUT', '/v1/vms/secret', { body: { pool: 'web', comment: 'acquisition' } })
  await use('2030-01-01T10:00:00.000Z', 1_000)
  t.ok((await keysFor(old)).includes('vm/secret'), 'the owner does see it')
  t.match((await call('GET', `${WEB}/usage`, { token: old })).json, { total: { requests: 1_000 } })
  await call('DELETE', '/v1/vms/secret')
  await giveBack(t, client)
  clock.now = Date.parse('2030-01-01T12:30:00Z')
  await call('PUT', WEB, { body: POOL })
  await use('2030-01-01T12:00:00.000Z', 1)
  const { token, id } = await tokenFor(client, read)
  t.strictSame(await keysFor(token), ['pool/web', `token/${id}`])
  const usage = await call('GET', `${WEB}/usage`, { token })
  t.match(usage.json, { from: '2030-01-01T12:00:00.000Z', total: { requests: 1 }, hours: [{ requests: 1 }] })
  const before = await call('GET', `${WEB}/usage?from=2030-01-01T00:00:00Z&to=2030-01-01T11:00:00Z`, {
    token,
  })
  t.match(before.json, { from: '2030-01-01T11:00:00.000Z', total: { requests: 0 }, hours: [] })
  t.match((await call('GET', `${WEB}/usage`)).json, { total: { requests: 1_001 } }, 'operators see all of it')
})
