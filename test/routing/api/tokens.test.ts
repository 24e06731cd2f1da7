/** Tokens as a resource: made once, shown once, ended, and never worth more than their maker. */

import t from 'tap'
import { digestOf } from '../../../lib/digest.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import { apiFor, TOKEN, tokenFor } from './api-client.ts'

const TOKENS = '/v1/tokens'
const POOL = { cpuMillis: 1_000, memoryBytes: 1, diskBytes: 1, host: 'local' }
const ALL = [{ pool: '*', verbs: ['read', 'write', 'share', 'admin'] }]
const READ = [{ pool: '*', verbs: ['read'] }]

t.test('makes a token whose secret is in one answer only', async (t) => {
  const { call, store } = await apiFor(t)
  const made = await call('POST', TOKENS, { body: { label: 'deploy', scopes: READ } })
  t.equal(made.status, 201)
  const { token, ...shown } = made.json as { token: string; id: string }
  t.match(token, /^lf_[A-Za-z0-9]{12}_[A-Za-z0-9_-]{43}$/)
  t.match(shown, { label: 'deploy', scopes: READ, createdBy: 'bootstrap', revision: 1 })
  t.equal(token.split('_')[1], shown.id)
  t.match(made.headers, { location: `${TOKENS}/${shown.id}`, etag: '"1"', 'cache-control': 'no-store' })

  const [, , ...rest] = token.split('_')
  const secret = rest.join('_')
  t.match(await store.get(`token/${shown.id}`), { value: { digest: digestOf(secret) } })
  t.strictSame((await call('GET', `${TOKENS}/${shown.id}`)).json, shown)
  t.strictSame((await call('GET', TOKENS)).json, { tokens: [shown] })
  t.equal((await call('GET', '/v1/pools', { token })).status, 200)
})

t.test('shows who a token is, and how long it lives', async (t) => {
  const { call } = await apiFor(t)
  const expiresAt = '2099-01-01T00:00:00Z'
  t.strictSame((await call('GET', '/v1/whoami')).json, { id: 'bootstrap', scopes: ALL })
  const { json } = await call('POST', TOKENS, { body: { label: '', scopes: READ, expiresAt } })
  const who = await call('GET', '/v1/whoami', { token: String(json.token) })
  t.strictSame(who.json, { id: json.id, scopes: READ, expiresAt })
  t.equal((await call('HEAD', '/v1/whoami')).status, 200)
  t.equal((await call('PUT', '/v1/whoami')).status, 405)
})

t.test('ends a token at once', async (t) => {
  const client = await apiFor(t)
  const { call, store } = client
  const { id, token } = await tokenFor(client, ALL)
  const { etag = '' } = (await call('GET', `${TOKENS}/${id}`)).headers
  t.equal((await call('DELETE', `${TOKENS}/${id}`, { headers: { 'if-match': '"77"' } })).status, 412)
  t.equal((await call('GET', '/v1/whoami', { token })).status, 200)
  t.equal((await call('DELETE', `${TOKENS}/${id}`, { headers: { 'if-match': etag } })).status, 204)
  t.equal((await call('GET', '/v1/whoami', { token })).status, 401)
  t.equal((await call('DELETE', `${TOKENS}/${id}`)).status, 404)
  t.equal(await store.get(`token/${id}`), undefined)
})

t.test('does not take a token after its end, and says which end that was', async (t) => {
  let now = new Date('2030-01-01T00:00:00Z')
  const { call } = await apiFor(t, { now: () => now })
  const expiresAt = '2030-01-01T01:00:00Z'
  const { json } = await call('POST', TOKENS, { body: { label: '', scopes: READ, expiresAt } })
  const token = String(json.token)
  now = new Date('2030-01-01T00:59:59.999Z')
  t.equal((await call('GET', '/v1/whoami', { token })).status, 200)
  now = new Date('2030-01-01T01:00:00Z')
  const late = await call('GET', '/v1/whoami', { token })
  t.match(late, { status: 401, json: { code: 'api_unauthorized', detail: /2030-01-01T01:00:00Z/ } })
  const guess = await call('GET', '/v1/whoami', { token: `${token.slice(0, 16)}${'x'.repeat(43)}` })
  t.notOk('detail' in guess.json, 'nothing is said to who does not have the secret')
})

t.test('refuses what no token can be', async (t) => {
  const { call, store } = await apiFor(t)
  await call('PUT', '/v1/pools/web', { body: POOL })
  const { revision } = await store.list('')
  const cases = [
    ['/label', { scopes: READ }],
    ['/label', { label: 'x'.repeat(201), scopes: READ }],
    ['/scopes', { label: '' }],
    ['/scopes', { label: '', scopes: [] }],
    ['/scopes', { label: '', scopes: Array.from({ length: 21 }, () => READ[0]) }],
    ['/scopes/0/verbs', { label: '', scopes: [{ pool: '*', verbs: [] }] }],
    ['/scopes/0/verbs/1', { label: '', scopes: [{ pool: '*', verbs: ['read', 'root'] }] }],
    ['/scopes/0/pool', { label: '', scopes: [{ pool: 'we*', verbs: ['read'] }] }],
    [
      '/scopes/1/pool',
      {
        label: '',
        scopes: [
          { pool: 'web', verbs: ['read'] },
          { pool: 'none', verbs: ['read'] },
        ],
      },
    ],
    ['/expiresAt', { label: '', scopes: READ, expiresAt: 'tomorrow' }],
    ['/expiresAt', { label: '', scopes: READ, expiresAt: '2020-01-01T00:00:00Z' }],
    ['/id', { label: '', scopes: READ, id: 'bootstrap' }],
    ['/digest', { label: '', scopes: READ, digest: 'x'.repeat(43) }],
    ['/createdBy', { label: '', scopes: READ, createdBy: 'x' }],
  ] as const
  for (const [field, body] of cases) {
    t.match(await call('POST', TOKENS, { body }), { status: 422, json: { field } }, JSON.stringify(body))
  }
  t.equal((await store.list('')).revision, revision)
})

t.test("shows a pool's admin the tokens of that pool alone, and everybody their own", async (t) => {
  const client = await apiFor(t)
  const { call } = client
  for (const pool of ['web', 'db']) await call('PUT', `/v1/pools/${pool}`, { body: POOL })
  const admin = await tokenFor(client, [{ pool: 'web', verbs: ['read', 'admin'] }])
  const web = await tokenFor(client, [{ pool: 'web', verbs: ['read', 'write'] }])
  const both = await tokenFor(client, [
    { pool: 'web', verbs: ['read'] },
    { pool: 'db', verbs: ['read'] },
  ])
  const all = await tokenFor(client, ALL)
  const idsFor = async (token: string) => {
    const { tokens } = (await call('GET', TOKENS, { token })).json as { tokens: { id: string }[] }
    return tokens.map(({ id }) => id).sort()
  }
  t.strictSame(await idsFor(admin.token), [admin.id, web.id].sort())
  t.strictSame(await idsFor(web.token), [web.id])
  t.strictSame(await idsFor(all.token), [admin.id, web.id, both.id, all.id].sort())
  for (const { id } of [both, all]) {
    for (const method of ['GET', 'DELETE']) {
      t.equal((await call(method, `${TOKENS}/${id}`, { token: admin.token })).status, 404, `${method} ${id}`)
    }
  }
  t.equal((await call('DELETE', `${TOKENS}/${web.id}`, { token: admin.token })).status, 204)
  t.equal((await call('DELETE', `${TOKENS}/${both.id}`, { token: both.token })).status, 204, 'its own')
})

t.test('takes a pool out of all tokens when it is given back', async (t) => {
  const client = await apiFor(t)
  const { call } = client
  for (const pool of ['web', 'db']) await call('PUT', `/v1/pools/${pool}`, { body: POOL })
  const web = await tokenFor(client, [{ pool: 'web', verbs: ['read'] }])
  const both = await tokenFor(client, [
    { pool: 'web', verbs: ['read'] },
    { pool: 'db', verbs: ['read'] },
  ])
  t.equal((await call('DELETE', '/v1/pools/web')).status, 204)
  await call('PUT', '/v1/pools/web', { body: POOL })
  t.equal((await call('GET', '/v1/pools/web', { token: web.token })).status, 401, 'it had nothing else')
  t.equal((await call('GET', '/v1/pools/web', { token: both.token })).status, 404)
  t.equal((await call('GET', '/v1/pools/db', { token: both.token })).status, 200)
})

t.test('lets a broken token be removed by who may do everything, and nobody else', async (t) => {
  const client = await apiFor(t)
  const { call, store } = client
  const { id, token } = await tokenFor(client, READ)
  await store.put(`token/${id}`, { ...(await store.get(`token/${id}`))?.value, scopes: 'all' })
  const reader = await tokenFor(client, READ)
  t.equal((await call('GET', '/v1/whoami', { token })).status, 401, 'it opens nothing')
  t.equal((await call('DELETE', `${TOKENS}/${id}`, { token: reader.token })).status, 403)
  t.ok(await store.get(`token/${id}`))
  t.equal((await call('DELETE', `${TOKENS}/${id}`)).status, 204)
})

t.test('keeps the file token in one process, whatever it has made', async (t) => {
  const client = await apiFor(t)
  await tokenFor(client, ALL)
  t.equal((await client.call('GET', '/v1/pools')).status, 200)
  t.equal(await client.store.get('bootstrap/used'), undefined)
})

t.test('lets the bootstrap token of a fleet make one token, and nothing else', async (t) => {
  const { call, store } = await apiFor(t, { isFleet: true })
  for (const [method, path] of [
    ['GET', '/v1/whoami'],
    ['GET', '/v1/pools'],
    ['GET', TOKENS],
    ['PUT', '/v1/pools/web'],
    ['PATCH', TOKENS],
    ['GET', '/nothing'],
  ] as const) {
    t.match(
      await call(method, path),
      { status: 403, json: { code: 'api_bootstrap_only' } },
      `${method} ${path}`,
    )
  }
  for (const path of ['/', '/llms.txt', '/v1/openapi.json'])
    t.equal((await call('GET', path)).status, 200, path)
  const weak = await call('POST', TOKENS, { body: { label: '', scopes: READ } })
  t.match(weak, { status: 422, json: { field: '/scopes', detail: /"write" over "\*"/ } })
  t.equal((await store.list('')).revision, 0)

  const first = await call('POST', TOKENS, { body: { label: 'first', scopes: ALL } })
  t.equal(first.status, 201)
  const used = await store.get('bootstrap/used')
  t.strictSame(used?.value, { at: first.json.createdAt, tokenId: first.json.id })
  const again = await call('POST', TOKENS, { body: { label: 'second', scopes: ALL } })
  t.match(again, { status: 401, json: { code: 'api_bootstrap_spent' } })
  t.match(again.headers['www-authenticate'], /invalid_token/)
  t.match(await call('GET', '/v1/whoami'), { status: 401, json: { code: 'api_bootstrap_spent' } })
  const token = String(first.json.token)
  t.equal((await call('GET', '/v1/whoami', { token })).status, 200)
  t.equal((await call('POST', TOKENS, { body: { label: '', scopes: READ }, token })).status, 201)
})

t.test('spends the bootstrap tokens of all edges with the first', async (t) => {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const edges = await Promise.all(
    Array.from({ length: 4 }, (_, index) => apiFor(t, { store, isFleet: true, token: `${TOKEN}-${index}` })),
  )
  const body = { label: 'first', scopes: ALL }
  const answers = await Promise.all(
    // The same key on purpose: another edge's bootstrap token is another caller.
    edges.map(({ call }, index) =>
      call('POST', TOKENS, { body, token: `${TOKEN}-${index}`, headers: { 'idempotency-key': 'first' } }),
    ),
  )
  t.strictSame(answers.map(({ status }) => status).sort(), [201, 401, 401, 401])
  t.equal((await store.list('token/')).documents.length, 1)
  for (const [index, { call }] of edges.entries()) {
    t.equal((await call('POST', TOKENS, { body, token: `${TOKEN}-${index}` })).status, 401)
  }
  const first = answers.find(({ status }) => status === 201)
  t.match(await store.get('bootstrap/used'), { value: { tokenId: first?.json.id } })
})
