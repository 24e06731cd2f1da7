/** Attacks on Idempotency-Key: answers hold secrets, and are given again to nobody but who they were for. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { Buckets } from '../../lib/buckets.ts'
import { createSealer } from '../../lib/seal.ts'
import { createKeyBudget } from '../../routing/api/idempotency.ts'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import { apiFor, TOKEN, tokenFor } from '../routing/api/api-client.ts'

const TOKENS = '/v1/tokens'
const ALL = [{ pool: '*', verbs: ['read', 'write', 'share', 'admin'] }]
const BODY = { label: 'x', scopes: [{ pool: '*', verbs: ['read'] }] }
const withKey = (key: string) => ({ body: BODY, headers: { 'idempotency-key': key } })

t.test('another caller with the same key and the same request gets an answer of its own', async (t) => {
  const client = await apiFor(t)
  const { call, store } = client
  const callers = [TOKEN, (await tokenFor(client, ALL)).token, (await tokenFor(client, ALL)).token]
  const made = []
  for (const token of callers) made.push(await call('POST', TOKENS, { ...withKey('a'), token }))
  t.equal(new Set(made.map(({ json }) => json.token)).size, callers.length)
  t.ok(made.every(({ status, headers }) => status === 201 && headers['idempotency-replayed'] === undefined))
  t.equal((await store.list('idempotency/')).documents.length, callers.length)
})

t.test('a caller without rights is refused before any answer is looked for', async (t) => {
  const client = await apiFor(t)
  const { call } = client
  await call('POST', TOKENS, withKey('a'))
  const reader = await tokenFor(client, BODY.scopes)
  t.equal((await call('POST', TOKENS, { ...withKey('a'), token: reader.token })).status, 403)
  t.equal((await call('POST', TOKENS, { ...withKey('a'), token: '' })).status, 401)
})

t.test('a token that was ended gets its answers no more', async (t) => {
  const client = await apiFor(t)
  const { call } = client
  const { id, token } = await tokenFor(client, ALL)
  t.equal((await call('POST', TOKENS, { ...withKey('a'), token })).status, 201)
  await call('DELETE', `${TOKENS}/${id}`)
  t.equal((await call('POST', TOKENS, { ...withKey('a'), token })).status, 401)
})

t.test("a sealed answer that is put under one's own key cannot be read", async (t) => {
  const client = await apiFor(t)
  const { call, store } = client
  const { token } = await tokenFor(client, ALL)
  const victim = await call('POST', TOKENS, withKey('a'))
  const [theirs] = (await store.list('idempotency/')).documents
  await call('POST', TOKENS, { ...withKey('b'), token })
  const own = (await store.list('idempotency/')).documents.find(({ key }) => key !== theirs?.key)
  await store.put(String(own?.key), { ...own?.value, answer: theirs?.value.answer })
  const answer = await call('POST', TOKENS, { ...withKey('b'), token })
  t.match(answer, { status: 500, json: { code: 'secret_unreadable' } })
  t.notMatch(answer.text, String(victim.json.token))
})

t.test('no key reaches out of its caller', async (t) => {
  const { call, store } = await apiFor(t)
  await store.put('token/victim', { any: 'thing' })
  for (const key of ['../../token/victim', 'token/victim', '%2e%2e%2f', 'a/../../token/victim', '*', '{}']) {
    t.equal((await call('POST', TOKENS, withKey(key))).status, 201, key)
  }
  t.strictSame((await store.get('token/victim'))?.value, { any: 'thing' })
  for (const { key } of (await store.list('idempotency/')).documents) {
    t.match(key, /^idempotency\/bootstrap-[\w-]{16}\/[\w-]{43}$/)
  }
})

t.test('a record that another program left there stops nobody', async (t) => {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const { call } = await apiFor(t, { store, sealer: createSealer(randomBytes(32)) })
  await call('POST', TOKENS, withKey('a'))
  const [{ key = '' } = {}] = (await store.list('idempotency/')).documents
  for (const value of [{}, { digest: 7 }, { digest: 'x', at: 'yesterday' }, { at: '2030-01-01T00:00:00Z' }]) {
    await store.put(key, value)
    t.equal((await call('POST', TOKENS, withKey('a'))).status, 201, JSON.stringify(value))
  }
})

t.test('many keys at once cost one record each, and no more', async (t) => {
  const { call, store } = await apiFor(t)
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, index) => call('POST', TOKENS, withKey(`k${index % 100}`))),
  )
  t.ok(answers.every(({ status }) => status === 201 || status === 409))
  t.equal((await store.list('idempotency/')).documents.length, 100)
  t.equal((await store.list('token/')).documents.length, 100)
})

t.test('a caller that may make nothing leaves nothing in the store', async (t) => {
  const client = await apiFor(t)
  const { call, store } = client
  for (const pool of ['web', 'db']) {
    await call('PUT', `/v1/pools/${pool}`, {
      body: { cpuMillis: 100, memoryBytes: 1, diskBytes: 1, host: 'a' },
    })
  }
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  const { token } = await tokenFor(client, [{ pool: 'web', verbs: ['read'] }])
  const other = await tokenFor(client, [{ pool: 'db', verbs: ['read', 'write', 'share', 'admin'] }])
  const { revision } = await store.list('')
  const grant = { to: { kind: 'user', value: 'u' }, role: 'viewer' }
  for (const [path, body] of [
    [TOKENS, BODY],
    ['/v1/vms', { pool: 'web' }],
    ['/v1/vms/a/grants', grant],
    ['/v1/keys', { user: 'u', publicKey: 'ssh-ed25519 AAAA' }],
    ['/v1/domains/a.example/check', undefined],
    ['/v1/table/accept', { storeId: 'x' }],
  ] as const) {
    const answer = await call('POST', path, { body, token, headers: { 'idempotency-key': 'a' } })
    t.ok([403, 404, 422].includes(answer.status ?? 0), `${path}: ${answer.status}`)
  }
  t.equal((await store.list('')).revision, revision)
  await call('POST', '/v1/vms/a/grants', { body: grant, token: other.token, ...withKey('a').headers })
  t.strictSame((await store.list('idempotency/')).documents, [])
})

t.test('a caller has so many keys in a day, and no fewer rights when they are used up', async (t) => {
  const budget = createKeyBudget()
  for (let n = 0; n < 10_000; n += 1) budget.take('one')
  t.notOk(budget.take('one'))
  t.ok(budget.take('other'))
  const refused = { status: 429, json: { code: 'api_rate_limited', detail: /without the header/ } }
  const { call, store } = await apiFor(t, { keyBudget: new Buckets({ capacity: 2, perSecond: 0 }) })
  for (const key of ['a', 'b']) t.equal((await call('POST', TOKENS, withKey(key))).status, 201)
  t.match(await call('POST', TOKENS, withKey('c')), refused)
  t.equal((await call('POST', TOKENS, withKey('a'))).status, 201, 'answers are given again')
  t.equal((await call('POST', TOKENS, { body: BODY })).status, 201)
  t.equal((await store.list('idempotency/')).documents.length, 2)
})
