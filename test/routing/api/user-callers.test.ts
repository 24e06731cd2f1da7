/** Callers who signed their token themselves: who they are, what they may, and when that ends. */

import t, { type Test } from 'tap'
import { AuthError } from '../../../auth/errors.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import { until } from '../../helpers/until.ts'
import { type ApiOptions, apiFor, TOKEN } from './api-client.ts'
import { eventsFor } from './event-reader.ts'
import { documentsOf } from './vm-client.ts'

const DEADLINE_MS = 3_000
const ADA = 'ada@example.test'
const VERBS = ['read', 'write', 'share']
const SIGNED = tokenOf('ada')

function tokenOf(text: string): string {
  return `${Buffer.from(text).toString('base64url')}.e30.c2ln`
}

/** Ada owns `hers`, Bob owns `his`, and nobody `other`; the edge believes that all of them are Ada's and Bob's. */
async function bedFor(t: Test, options: ApiOptions = {}) {
  const users = new Map<string, string | AuthError>([[SIGNED, ADA]])
  const asked: (string | undefined)[] = []
  const client = await apiFor(t, {
    poolsOf: () => ['hers', 'his', 'other', 'gone'],
    findUser: async (token, address) => {
      asked.push(address)
      const user = users.get(token)
      if (user instanceof AuthError) throw user
      return user === undefined ? undefined : { user, expiresAt: '2999-01-01T00:00:00Z' }
    },
    ...options,
  })
  const body = { cpuMillis: 1_000, memoryBytes: 1_000, diskBytes: 1_000, host: 'host-1' }
  const own = (pool: string, owner?: string) =>
    client.call('PUT', `/v1/pools/${pool}`, { body: { ...body, ...(owner && { owner }) } })
  await own('hers', ADA)
  await own('his', 'bob')
  await own('other')
  return { ...client, users, asked, own }
}

t.test('may read, write and share in the pools that they own, and nothing elsewhere', async (t) => {
  const { call } = await bedFor(t)
  const { json } = await call('GET', '/v1/whoami', { token: SIGNED })
  t.strictSame(json, {
    id: `user:${ADA}`,
    user: ADA,
    scopes: [{ pool: 'hers', verbs: VERBS }],
    expiresAt: '2999-01-01T00:00:00Z',
  })
  t.match((await call('GET', '/v1/pools', { token: SIGNED })).json, { pools: [{ name: 'hers' }] })
  const made = await call('PUT', '/v1/vms/a', { token: SIGNED, body: { pool: 'hers' } })
  t.equal(made.status, 201)
  const expiresAt = new Date(Date.now() + 60_000).toISOString()
  const token = await call('POST', '/v1/vms/a/tokens', { token: SIGNED, body: { expiresAt } })
  t.match(token, { status: 201, json: { createdBy: `user:${ADA}` } })
  for (const pool of ['his', 'other', 'gone']) {
    t.equal((await call('PUT', '/v1/vms/b', { token: SIGNED, body: { pool } })).status, 403, pool)
    t.equal((await call('GET', `/v1/pools/${pool}`, { token: SIGNED })).status, 404, pool)
  }
})

t.test('a user with a live grant finds that VM, and nothing else', async (t) => {
  const { call } = await bedFor(t)
  for (const vm of ['a', 'b']) {
    t.equal((await call('PUT', `/v1/vms/${vm}`, { body: { pool: 'his' } })).status, 201)
  }
  const find = async (vm: string) => (await call('GET', `/v1/vms/${vm}`, { token: SIGNED })).status
  t.equal(await find('a'), 404)
  for (const to of [
    { kind: 'user', value: ADA },
    { kind: 'email', value: ADA },
  ]) {
    const path = '/v1/vms/a/grants/g'
    t.equal((await call('PUT', path, { body: { to, role: 'root' } })).status, 201)
    t.equal(await find('a'), 200, to.kind)
    t.equal(await find('b'), 404)
    t.equal((await call('GET', '/v1/vms/a/grants', { token: SIGNED })).status, 404)
    t.equal((await call('PUT', '/v1/vms/a', { token: SIGNED, body: { pool: 'his' } })).status, 409)
    t.strictSame((await call('GET', '/v1/vms', { token: SIGNED })).json, { vms: [] })
    t.equal((await call('DELETE', path)).status, 204)
    t.equal(await find('a'), 404)
  }
})

t.test('a pool that was given to another counts at once as theirs', async (t) => {
  const { call, own } = await bedFor(t)
  await own('hers', 'bob')
  t.strictSame((await call('GET', '/v1/whoami', { token: SIGNED })).json.scopes, [])
  t.equal((await call('GET', '/v1/pools/hers', { token: SIGNED })).status, 404)
  await own('his', ADA)
  t.match((await call('GET', '/v1/whoami', { token: SIGNED })).json, { scopes: [{ pool: 'his' }] })
})

t.test('a pool that cannot be read is nobody’s', async (t) => {
  const { call, store } = await bedFor(t)
  await store.put('pool/hers', { name: 'hers', owner: ADA })
  t.match(await call('GET', '/v1/whoami', { token: SIGNED }), {
    status: 200,
    json: { scopes: { length: 0 } },
  })
})

t.test('one that does not count is refused, and the log alone says why', async (t) => {
  const { call, users, lines } = await bedFor(t)
  const bad = tokenOf('bad')
  users.set(bad, new AuthError('auth_invalid', 'wrong-aud'))
  const refused = await call('GET', '/v1/whoami', { token: bad })
  t.match(refused, { status: 401, json: { code: 'api_unauthorized' } })
  t.match(refused.headers['www-authenticate'], /^Bearer .*error="invalid_token"/)
  t.notMatch(refused.text, /wrong-aud|auth_/)
  t.match(
    lines
      .map((line) =>
        JSON.stringify(line, (_name, value) =>
          value instanceof Error ? { ...value, cause: value.cause } : value,
        ),
      )
      .join('\n'),
    /wrong-aud/,
  )
  const strip = ({ requestId: _requestId, ...rest }: Record<string, unknown>) => rest
  for (const token of [tokenOf('unknown'), 'a.b', 'a.b.c.d', 'a..c', 'ä.b.c', `a.${'b'.repeat(4_096)}.c`]) {
    t.strictSame(
      strip((await call('GET', '/v1/whoami', { token })).json),
      strip(refused.json),
      token.slice(0, 9),
    )
  }
})

t.test('whoever cannot tell says so', async (t) => {
  const { call, users } = await bedFor(t)
  users.set(SIGNED, new AuthError('auth_busy', 'too-many'))
  t.match(await call('GET', '/v1/whoami', { token: SIGNED }), { status: 429, json: { code: 'auth_busy' } })
  users.set(SIGNED, new AuthError('auth_stale', 'no-table'))
  t.match(await call('GET', '/v1/whoami', { token: SIGNED }), { status: 503, json: { code: 'auth_stale' } })
})

t.test('nobody is asked about other tokens, and the client’s address is told', async (t) => {
  const { call, asked } = await bedFor(t)
  asked.length = 0
  await call('GET', '/v1/whoami', { token: TOKEN })
  await call('GET', '/v1/whoami', { token: `lf_${'x'.repeat(12)}_${'x'.repeat(43)}` })
  await call('GET', '/v1/whoami', { token: `${'x'.repeat(4_093)}.x.x` })
  t.strictSame(asked, [])
  await call('GET', '/v1/whoami', { token: `${'x'.repeat(4_092)}.x.x` })
  t.equal(asked.length, 1, 'of 4096 characters')
  asked.length = 0
  const headers = { 'x-forwarded-for': '192.0.2.7' }
  await call('GET', '/v1/whoami', { token: SIGNED, headers })
  t.strictSame(asked, ['192.0.2.7'])
})

t.test('a token ends when it says', async (t) => {
  let now = new Date('2998-12-31T23:59:59.999Z')
  const { call } = await bedFor(t, { now: () => now })
  t.equal((await call('GET', '/v1/whoami', { token: SIGNED })).status, 200)
  now = new Date('2999-01-01T00:00:00Z')
  t.equal((await call('GET', '/v1/whoami', { token: SIGNED })).status, 401)
})

t.test('audit records name them, and each has Idempotency-Keys of their own', async (t) => {
  const { call, store, users, own } = await bedFor(t)
  const [bob, long] = [tokenOf('bob'), tokenOf('long')]
  users.set(bob, 'bob').set(long, 'x'.repeat(254))
  await own('other', 'x'.repeat(254))
  const post = (token: string) =>
    call('POST', '/v1/vms', { token, body: {}, headers: { 'idempotency-key': 'one' } })
  const answers = [await post(SIGNED), await post(SIGNED), await post(bob), await post(long)]
  t.strictSame(
    answers.map(({ status, json }) => [status, json.pool]),
    [
      [201, 'hers'],
      [201, 'hers'],
      [201, 'his'],
      [201, 'other'],
    ],
  )
  t.strictSame(answers[1]?.json, answers[0]?.json)
  const records = Object.values(await documentsOf({ store }, 'audit/'))
  const makers = records.filter(({ key }) => String(key).startsWith('vm/')).map(({ who }) => String(who))
  // Records of one millisecond have no order.
  const [hashed, ...plain] = makers.toSorted((one, other) => other.length - one.length)
  t.same(plain.sort(), [`user:${ADA}`, 'user:bob'].sort())
  t.match(hashed, /^user:sha256:[\w-]{43}$/, 'as long as an audit record can hold')
  const { json } = await call('GET', '/v1/audit')
  t.equal((json.audit as unknown[]).length, records.length, 'all of them can be read')
})

t.test('a rate is counted for each user, whichever token they send', async (t) => {
  const { call, users } = await bedFor(t, { ratePerSecond: 1 })
  const [second, bob] = [tokenOf('second'), tokenOf('bob')]
  users.set(second, ADA).set(bob, 'bob')
  for (let index = 0; index < 10; index += 1) await call('GET', '/v1/whoami', { token: SIGNED })
  t.equal((await call('GET', '/v1/whoami', { token: second })).status, 429)
  t.equal((await call('GET', '/v1/whoami', { token: bob })).status, 200)
})

t.test('a stream of events ends with its own token, or when a pool is taken away', async (t) => {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const client = await bedFor(t, { store })
  const [second, bob] = [tokenOf('second'), tokenOf('bob')]
  client.users.set(second, ADA).set(bob, 'bob')
  const [first, other, bobs] = [
    await eventsFor(t, client, { token: SIGNED }),
    await eventsFor(t, client, { token: second }),
    await eventsFor(t, client, { token: bob }),
  ]
  client.users.delete(second)
  await until(() => other.isClosed, 'the end of one token', DEADLINE_MS)
  client.users.set(bob, new AuthError('auth_stale', 'no-table'))
  t.notOk(first.isClosed, 'another token of the same user goes on')
  await client.own('hers', 'bob')
  await until(() => first.isClosed, 'the end with the pool', DEADLINE_MS)
  t.notOk(bobs.isClosed, 'who cannot be asked about goes on')
})
