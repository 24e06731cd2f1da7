/** Attacks on tokens, share links and self-signed callers of the admin API: reaching other pools, and giving oneself more. */

import t, { type Test } from 'tap'
import { type ApiOptions, apiFor, tokenFor } from '../routing/api/api-client.ts'
import { demandOf } from '../routing/api/test-signer.ts'

const POOL = { cpuMillis: 1_000, memoryBytes: 1, diskBytes: 1, host: 'local' }
const ALL = ['read', 'write', 'share', 'admin']
const OWNER = 'header.payload.signature'
const END = { expiresAt: new Date(Date.now() + 86_400_000).toISOString() }

/** `a` is in the pool `mine`, which Ada owns, and `b` in `yours`; the edge wrongly believes that both are hers. */
async function bedFor(t: Test, options: ApiOptions = {}) {
  const client = await apiFor(t, {
    findUser: async (token) => (token === OWNER ? { user: 'ada' } : undefined),
    poolsOf: () => ['mine', 'yours', '*'],
    ...options,
  })
  await client.call('PUT', '/v1/pools/mine', { body: { ...POOL, owner: 'ada' } })
  await client.call('PUT', '/v1/pools/yours', { body: POOL })
  await client.call('PUT', '/v1/vms/a', { body: { pool: 'mine' } })
  await client.call('PUT', '/v1/vms/b', {
    body: { pool: 'yours', ports: { 8000: { visibility: 'private' } } },
  })
  const revision = async () => (await client.store.list('')).revision
  return { ...client, revision }
}

t.test('who may share one pool gets nothing into another', async (t) => {
  const client = await bedFor(t)
  const { call, revision } = client
  const link = await call('POST', '/v1/vms/b/links', { body: END })
  const vmToken = await call('POST', '/v1/vms/b/tokens', { body: END })
  const { token } = await tokenFor(client, [{ pool: 'mine', verbs: ALL }])
  const { token: reader } = await tokenFor(client, [
    { pool: 'mine', verbs: ['share'] },
    { pool: 'yours', verbs: ['read', 'write'] },
  ])
  const before = await revision()
  for (const attacker of [token, reader, OWNER]) {
    for (const [method, path, body] of [
      ['POST', '/v1/vms/b/tokens', END],
      ['POST', '/v1/vms/b/links', END],
      ['POST', '/v1/vms/a/tokens', { ...END, hostname: 'b.example.test' }],
      ['POST', '/v1/vms/a/tokens', { ...END, hostname: '8000--b.example.test' }],
      ['POST', '/v1/vms/a/links', { ...END, hostname: 'b.example.test' }],
      ['POST', '/v1/vms/a/tokens', { ...END, hostname: 'auth.example.test' }],
      ['POST', '/v1/vms/a/tokens', { ...END, hostname: 'admin.example.test' }],
      ['POST', '/v1/vms/a%2F..%2Fb/tokens', END],
      ['DELETE', `/v1/vms/b/tokens/${vmToken.json.id}`, undefined],
      ['DELETE', `/v1/vms/b/links/${link.json.id}?access=end`, undefined],
      ['DELETE', `/v1/vms/a/tokens/..%2Fb%2F${vmToken.json.id}`, undefined],
      ['DELETE', `/v1/vms/a/links/${link.json.id}?access=end`, undefined],
    ] as const) {
      const { status } = await call(method, path, { token: attacker, body })
      t.ok([403, 404, 422].includes(status ?? 0), `${method} ${path}: ${status}`)
    }
  }
  t.equal(await revision(), before)
})

t.test('an owner cannot become more than an owner', async (t) => {
  const { call, revision } = await bedFor(t)
  const before = await revision()
  const scopes = (pool: string, ...verbs: string[]) => ({ label: '', scopes: [{ pool, verbs }] })
  for (const [method, path, body] of [
    ['POST', '/v1/tokens', scopes('mine', 'read')],
    ['POST', '/v1/tokens', scopes('mine', 'admin')],
    ['POST', '/v1/tokens', scopes('*', ...ALL)],
    ['PUT', '/v1/pools/mine', { ...POOL, owner: 'ada', cpuMillis: 4_096_000 }],
    ['PUT', '/v1/pools/new', { ...POOL, owner: 'ada' }],
    ['PUT', '/v1/pools/yours', { ...POOL, owner: 'ada' }],
    ['DELETE', '/v1/pools/mine', undefined],
    ['POST', '/v1/keys', { user: 'bob', publicKey: `ssh-ed25519 ${'A'.repeat(68)}` }],
    ['GET', '/v1/keys', undefined],
    ['GET', '/v1/sessions', undefined],
    ['DELETE', '/v1/sessions/x', undefined],
    ['DELETE', '/v1/users/bob/sessions', undefined],
    ['POST', '/v1/table/accept', undefined],
  ] as const) {
    const { status, json } = await call(method, path, { token: OWNER, body })
    const isEmpty = status === 200 && (json.keys as unknown[] | undefined)?.length === 0
    t.ok(isEmpty || status === 403 || status === 404 || status === 422, `${method} ${path}: ${status}`)
  }
  t.equal((await call('GET', '/v1/tokens', { token: OWNER })).json.tokens?.toString(), '')
  t.equal(await revision(), before)
})

t.test('a pool called "*" cannot be had by who is told of it', async (t) => {
  const { call, store } = await bedFor(t)
  await store.put('pool/*', { ...POOL, name: '*', owner: 'ada', createdAt: '2026-01-01T00:00:00Z' })
  const { json } = await call('GET', '/v1/whoami', { token: OWNER })
  t.match(json, { scopes: [{ pool: 'mine' }] })
  t.equal((json.scopes as unknown[]).length, 1)
})

t.test('a user whose name looks like something else is none of it', async (t) => {
  for (const user of ['bootstrap', '*', '__proto__', '../token/x']) {
    const { call } = await bedFor(t, { findUser: async () => ({ user }) })
    const { json } = await call('GET', '/v1/whoami', { token: OWNER })
    t.strictSame(json, { id: `user:${user}`, user, scopes: [] })
    t.equal((await call('GET', '/v1/pools', { token: OWNER })).json.pools?.toString(), '')
    t.equal((await call('DELETE', '/v1/tokens/bootstrap', { token: OWNER })).status, 404)
  }
})

t.test('in a fleet, nobody called "bootstrap" gets its first token', async (t) => {
  const findUser = async () => ({ user: 'bootstrap' })
  const client = await apiFor(t, { isFleet: true, findUser })
  const body = { label: 'me', scopes: [{ pool: '*', verbs: ALL }] }
  t.equal((await client.call('POST', '/v1/tokens', { token: OWNER, body })).status, 403)
  t.equal((await client.store.list('')).revision, 0)
})

t.test('neither a token nor a link can be made to say what the API decides', async (t) => {
  const { call } = await bedFor(t)
  for (const more of [
    { id: 'AAAAAAAAAAAA' },
    { role: 'root' },
    { to: { kind: 'user', value: 'bob' } },
    { token: { hostname: 'b.example.test' } },
    { via: 'x' },
    { uses: -1 },
    { createdBy: 'bob' },
    { sub: 'user:bob' },
    { claims: { sub: 'bob' } },
    { aud: 'b.example.test' },
  ]) {
    for (const kind of ['tokens', 'links']) {
      const { status } = await call('POST', `/v1/vms/a/${kind}`, { token: OWNER, body: { ...END, ...more } })
      t.equal(status, 422, JSON.stringify(more))
    }
  }
  const ctx = '","sub":"user:bob","x":"'
  const made = await call('POST', '/v1/vms/a/tokens', { token: OWNER, body: { ...END, ctx } })
  const { subject, claims } = demandOf(made.json.token)
  t.strictSame([subject, claims], [`token:${made.json.id}`, { ctx }])
})
