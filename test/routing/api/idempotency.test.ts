/** Idempotency-Key: one effect and one answer for the same request, on one edge and on many, through crashes. */

import { randomBytes } from 'node:crypto'
import { mock } from 'node:test'
import t, { type Test } from 'tap'
import { createSealer } from '../../../lib/seal.ts'
import { RoutingError } from '../../../routing/errors.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { until } from '../../helpers/until.ts'
import { apiFor, TOKEN, tokenFor } from './api-client.ts'
import { storeWith } from './watched-store.ts'

const TOKENS = '/v1/tokens'
const BODY = { label: 'x', scopes: [{ pool: '*', verbs: ['read'] }] }
const withKey = (key: string, body: object = BODY) => ({ body, headers: { 'idempotency-key': key } })
const DAY_MS = 86_400_000

/** A store whose commits wait until they are let go: a run that goes on. */
function slowStoreFor(t: Test, store: Store) {
  const { promise: gate, resolve: open } = Promise.withResolvers<void>()
  t.teardown(() => open())
  let waiting = 0
  const commit: Store['commit'] = async (mutations) => {
    waiting += 1
    await gate
    return store.commit(mutations)
  }
  return { slow: storeWith(store, { commit }), open, waiting: () => waiting }
}

const countTokens = async (store: Store) => (await store.list('token/')).documents.length

t.test('gives the same answer again, headers and secret included', async (t) => {
  const { call, store } = await apiFor(t)
  const first = await call('POST', TOKENS, withKey('a'))
  const second = await call('POST', TOKENS, withKey('a'))
  t.equal(first.status, 201)
  t.equal(first.headers['idempotency-replayed'], undefined)
  t.equal(second.headers['idempotency-replayed'], 'true')
  t.equal(second.text, first.text)
  for (const name of ['location', 'etag', 'cache-control', 'content-type']) {
    t.equal(second.headers[name], first.headers[name], name)
  }
  t.equal(second.status, 201)
  t.equal(await countTokens(store), 1)
  t.equal((await call('POST', TOKENS, withKey('b'))).headers['idempotency-replayed'], undefined)
  t.equal((await call('POST', TOKENS, { body: BODY })).status, 201, 'without the header each is another')
  t.equal(await countTokens(store), 3)
})

t.test('keeps nothing of what was refused: it had no effect, and may be right the next time', async (t) => {
  const { call, store } = await apiFor(t)
  const unknown = { label: '', scopes: [{ pool: 'web', verbs: ['read'] }] }
  const first = await call('POST', TOKENS, withKey('a', unknown))
  t.match(first, { status: 422, json: { code: 'api_pool_unknown' } })
  t.equal((await call('POST', TOKENS, withKey('b', { label: 7 }))).status, 422)
  t.strictSame((await store.list('idempotency/')).documents, [])
  await call('PUT', '/v1/pools/web', { body: { cpuMillis: 100, memoryBytes: 1, diskBytes: 1, host: 'a' } })
  const second = await call('POST', TOKENS, withKey('a', unknown))
  t.match(second, { status: 201, headers: { 'idempotency-replayed': undefined } })
  t.equal((await call('POST', TOKENS, withKey('a', unknown))).text, second.text)
})

t.test('refuses the key for another request', async (t) => {
  const { call, store } = await apiFor(t)
  await call('POST', TOKENS, withKey('a'))
  for (const [path, body] of [
    [TOKENS, { ...BODY, label: 'y' }],
    [`${TOKENS}?x`, BODY],
  ] as const) {
    const answer = await call('POST', path, withKey('a', body))
    t.match(answer, { status: 422, json: { code: 'api_idempotency_mismatch' } }, path)
  }
  t.equal(await countTokens(store), 1)
})

t.test('takes 1 to 255 printable characters, once', async (t) => {
  const { call, store } = await apiFor(t)
  for (const key of ['', 'x'.repeat(256), 'ö', 'a\tb', ['a', 'b']]) {
    const answer = await call('POST', TOKENS, { body: BODY, headers: { 'idempotency-key': key } })
    t.match(answer, { status: 400, json: { code: 'api_request_malformed' } }, JSON.stringify(key))
  }
  t.equal((await store.list('')).revision, 0)
  for (const key of ['x'.repeat(255), '"8e03978e-40d5-43dd-bc93-6894a57f9324"', '../token/x', 'a b']) {
    t.equal((await call('POST', TOKENS, withKey(key))).status, 201, key)
  }
  const keys = (await store.list('idempotency/')).documents.map(({ key }) => key)
  t.equal(keys.length, 4)
  t.ok(keys.every((key) => /^idempotency\/bootstrap-[\w-]{16}\/[\w-]{43}$/.test(key)))
})

t.test('runs once on two edges at once, and tells the other to wait', async (t) => {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const { slow, open, waiting } = slowStoreFor(t, store)
  const sealer = createSealer(randomBytes(32))
  const edges = [await apiFor(t, { store: slow, sealer }), await apiFor(t, { store: slow, sealer })]
  const answers = edges.map(({ call }) => call('POST', TOKENS, withKey('a')))
  const busy = await Promise.race(answers)
  t.match(busy, { status: 409, json: { code: 'api_idempotency_busy' }, headers: { 'retry-after': '1' } })
  const other = await edges[0]?.call('POST', TOKENS, withKey('a', { ...BODY, label: 'y' }))
  t.equal(other?.json.code, 'api_idempotency_mismatch')
  t.equal(waiting(), 1)
  open()
  t.strictSame((await Promise.all(answers)).map(({ status }) => status).sort(), [201, 409])
  t.equal(await countTokens(store), 1)
  for (const { call } of edges) {
    t.equal((await call('POST', TOKENS, withKey('a'))).headers['idempotency-replayed'], 'true')
  }
})

t.test('runs once for twenty at once', async (t) => {
  const { call, store } = await apiFor(t)
  const answers = await Promise.all(Array.from({ length: 20 }, () => call('POST', TOKENS, withKey('a'))))
  const made = answers.filter(({ status }) => status === 201)
  t.ok(made.length >= 1)
  t.equal(new Set(made.map(({ text }) => text)).size, 1)
  t.ok(answers.every(({ status }) => status === 201 || status === 409))
  t.equal(await countTokens(store), 1)
})

t.test('frees the key when the run fails', async (t) => {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  let isBroken = true
  const failing = new Proxy(store, {
    get: (target, name) => {
      const commit = () => Promise.reject(new Error('disk full'))
      const member: unknown = name === 'commit' && isBroken ? commit : Reflect.get(target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
  const { call } = await apiFor(t, { store: failing })
  t.equal((await call('POST', TOKENS, withKey('a'))).status, 500)
  t.strictSame((await store.list('idempotency/')).documents, [])
  isBroken = false
  const answer = await call('POST', TOKENS, withKey('a'))
  t.match(answer, { status: 201, headers: { 'idempotency-replayed': undefined } })
})

t.test('runs nothing after a run that crashed, and forgets an answer after a day', async (t) => {
  let now = new Date('2030-01-01T00:00:00Z')
  const after = (ms: number) => {
    now = new Date(now.getTime() + ms)
  }
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const { slow } = slowStoreFor(t, store)
  const sealer = createSealer(randomBytes(32))
  const crashed = await apiFor(t, { store: slow, sealer, now: () => now })
  const { call } = await apiFor(t, { store, sealer, now: () => now })
  crashed.call('POST', TOKENS, withKey('a')).catch(() => {})
  await until(async () => (await store.list('idempotency/')).documents.length === 1, 'the key is claimed')
  after(59_999)
  t.equal((await call('POST', TOKENS, withKey('a'))).json.code, 'api_idempotency_busy')
  after(1)
  const unknown = { status: 409, json: { code: 'api_idempotency_unknown' } }
  t.match(await call('POST', TOKENS, withKey('a')), unknown, 'it may have come far')
  after(DAY_MS - 60_001)
  t.match(await call('POST', TOKENS, withKey('a')), unknown)
  t.equal(await countTokens(store), 0)
  after(1)
  const first = await call('POST', TOKENS, withKey('a'))
  t.match(first, { status: 201, headers: { 'idempotency-replayed': undefined } })
  after(DAY_MS - 1)
  t.equal((await call('POST', TOKENS, withKey('a'))).text, first.text)
  after(1)
  const second = await call('POST', TOKENS, withKey('a'))
  t.equal(second.status, 201)
  t.not(second.text, first.text)
  t.equal(await countTokens(store), 2)
})

for (const code of ['store_unreachable', 'store_closed'] as const) {
  t.test(`runs nothing after a commit that ended with ${code}: it may have been carried out`, async (t) => {
    const store = await startMemoryStore()
    t.teardown(() => store[Symbol.asyncDispose]())
    let isLost = true
    const commit: Store['commit'] = async (mutations) => {
      const revisions = await store.commit(mutations)
      if (!isLost) return revisions
      isLost = false
      throw new RoutingError(code)
    }
    const { call } = await apiFor(t, { store: storeWith(store, { commit }) })
    t.match(await call('POST', TOKENS, withKey('a')), { status: 503, json: { code } })
    const again = await call('POST', TOKENS, withKey('a'))
    t.match(again, { status: 409, json: { code: 'api_idempotency_unknown' } })
    t.equal(await countTokens(store), 1)
    t.equal((await call('POST', TOKENS, withKey('b'))).status, 201)
  })
}

t.test('keeps the key of a run that takes longer than a minute', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  let now = Date.parse('2030-01-01T00:00:00Z')
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const { slow, open } = slowStoreFor(t, store)
  const { call } = await apiFor(t, { store: slow, now: () => new Date(now) })
  const answer = call('POST', TOKENS, withKey('a'))
  const claimedAt = async () => (await store.list('idempotency/')).documents[0]?.value.at
  await until(async () => (await claimedAt()) !== undefined, 'the key is claimed')
  for (let minute = 0; minute < 3; minute += 1) {
    now += 20_000
    mock.timers.tick(20_000)
    const renewed = new Date(now).toISOString()
    await until(async () => (await claimedAt()) === renewed, 'the claim is renewed')
    now += 40_000
    t.equal((await call('POST', TOKENS, withKey('a'))).json.code, 'api_idempotency_busy')
  }
  open()
  t.equal((await answer).status, 201)
  t.equal((await call('POST', TOKENS, withKey('a'))).headers['idempotency-replayed'], 'true')
})

t.test('answers what it did, also when the answer cannot be kept', async (t) => {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  let puts = 0
  const put: Store['put'] = (key, value, condition) => {
    puts += 1
    return puts === 1 ? store.put(key, value, condition) : Promise.reject(new Error('disk full'))
  }
  const failing = storeWith(store, { put })
  const { call, lines } = await apiFor(t, { store: failing })
  t.equal((await call('POST', TOKENS, withKey('a'))).status, 201)
  t.match(
    lines.filter(({ level }) => level === 'warn'),
    [{ message: /could not be kept/ }],
  )
})

t.test('says so when the answer was sealed with a key that is gone', async (t) => {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const before = await apiFor(t, { store })
  await before.call('POST', TOKENS, withKey('a'))
  const { call } = await apiFor(t, { store })
  t.match(await call('POST', TOKENS, withKey('a')), { status: 500, json: { code: 'secret_unreadable' } })
  t.equal((await call('POST', TOKENS, withKey('b'))).status, 201)
})

t.test('leaves no secret in the store in clear', async (t) => {
  const client = await apiFor(t)
  const { token } = await tokenFor(client, [{ pool: '*', verbs: ['read', 'write', 'share', 'admin'] }])
  const made = [token]
  for (const caller of [TOKEN, token]) {
    for (let n = 0; n < 3; n += 1) {
      const { json } = await client.call('POST', TOKENS, { ...withKey(`k${n}`), token: caller })
      made.push(String(json.token))
    }
  }
  const everything = JSON.stringify((await client.store.list('')).documents)
  for (const text of [TOKEN, ...made]) {
    const secret = text.slice(-43)
    t.notOk(everything.includes(secret))
    for (const encoding of ['base64', 'base64url', 'hex'] as const) {
      t.notOk(everything.includes(Buffer.from(secret).toString(encoding).slice(0, 40)), encoding)
    }
  }
  t.notOk(JSON.stringify(client.lines).includes(token.slice(-43)), 'nor in the log')
  t.match(everything, /"sealed":"v1"/)
})
