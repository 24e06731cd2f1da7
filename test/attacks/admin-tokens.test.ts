/** Attacks on the admin API's tokens: guessing, outliving, reaching other pools, and giving oneself more. */

import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { type ApiClient, apiFor, TOKEN, tokenFor } from '../routing/api/api-client.ts'

const ALL = ['read', 'write', 'share', 'admin']
const POOL = { cpuMillis: 1_000, memoryBytes: 1, diskBytes: 1, host: 'local' }

async function poolsFor(t: Test): Promise<ApiClient> {
  const client = await apiFor(t)
  for (const pool of ['mine', 'yours']) await client.call('PUT', `/v1/pools/${pool}`, { body: POOL })
  return client
}

t.test('compares whatever is sent in constant time, whole', async (t) => {
  const client = await apiFor(t)
  const { id, token } = await tokenFor(client, [{ pool: '*', verbs: ['read'] }])
  const { timingSafeEqual } = crypto
  const compared: [number, number][] = []
  crypto.timingSafeEqual = (one, other) => {
    compared.push([one.byteLength, other.byteLength])
    return timingSafeEqual(one, other)
  }
  syncBuiltinESMExports()
  t.teardown(() => {
    crypto.timingSafeEqual = timingSafeEqual
    syncBuiltinESMExports()
  })
  for (const guess of [
    TOKEN.slice(0, -1),
    `${TOKEN}x`,
    'x',
    `lf_${id}_${'x'.repeat(43)}`,
    `${token.slice(0, -1)}!`,
  ]) {
    compared.length = 0
    t.equal((await client.call('GET', '/v1/whoami', { token: guess })).status, 401, guess)
    t.ok(compared.length >= 1, 'every guess is compared')
    t.ok(
      compared.every(([one, other]) => one === other && one >= 32),
      `whole digests: ${compared}`,
    )
  }
  compared.length = 0
  await client.call('GET', '/v1/whoami', { token: `lf_${id}_${'x'.repeat(43)}` })
  t.equal(compared.length, 2, 'with the bootstrap token, and with the digest of the token of that id')
})

t.test('tells who guesses nothing about what exists', async (t) => {
  const client = await apiFor(t)
  const { id, token } = await tokenFor(client, [{ pool: '*', verbs: ['read'] }])
  const strip = ({ requestId: _requestId, ...rest }: Record<string, unknown>) => rest
  const guesses = [
    `lf_${id}_${'x'.repeat(43)}`,
    `lf_${'x'.repeat(12)}_${'x'.repeat(43)}`,
    `lf_${id}_`,
    `lf_${id}`,
    token.toLowerCase(),
    token.slice(0, -1),
    `${token}=`,
    'lf_../../pool/x_x',
    '__proto__',
    'x'.repeat(8_000),
  ]
  const answers = []
  for (const guess of guesses)
    answers.push(strip((await client.call('GET', '/v1/pools', { token: guess })).json))
  for (const answer of answers) t.strictSame(answer, answers[0])
})

t.test('takes a token from the Authorization header alone', async (t) => {
  const client = await apiFor(t)
  const { token } = await tokenFor(client, [{ pool: '*', verbs: ['read'] }])
  const places = [
    [`/v1/pools?access_token=${token}`, {}],
    [`/v1/pools?token=${token}`, {}],
    ['/v1/pools', { cookie: `token=${token}; authorization=Bearer ${token}` }],
    ['/v1/pools', { 'x-authorization': `Bearer ${token}`, 'proxy-authorization': `Bearer ${token}` }],
    [
      '/v1/pools',
      { 'x-forwarded-authorization': `Bearer ${token}`, 'x-original-authorization': `Bearer ${token}` },
    ],
  ] as const
  for (const [path, headers] of places)
    t.equal((await client.call('GET', path, { token: '', headers })).status, 401)
})

t.test('refuses two Authorization headers, whichever of them is right', async (t) => {
  const { api, store } = await apiFor(t)
  const good = `Authorization: Bearer ${TOKEN}`
  const bad = 'authorization: Bearer wrong'
  const body = JSON.stringify(POOL)
  for (const fields of [
    [good, bad],
    [bad, good],
    [good, good],
    ['Authorization: Basic eDp5', good],
    ['Authorization:', good],
  ]) {
    const connection = api.connect()
    const head = ['PUT /v1/pools/mine HTTP/1.1', 'host: admin.example.test', ...fields, 'connection: close']
    const types = [`content-length: ${body.length}`, 'content-type: application/json']
    connection.write(`${[...head, ...types].join('\r\n')}\r\n\r\n${body}`)
    const answer = await text(connection)
    t.match(answer, /^HTTP\/1\.1 400 /, fields.join(' | '))
    t.match(answer, /"code":"api_request_malformed"/)
  }
  t.equal((await store.list('')).revision, 0)
})

t.test('a token of one pool reaches no other', async (t) => {
  const client = await poolsFor(t)
  const { call } = client
  const { token, id } = await tokenFor(client, [{ pool: 'mine', verbs: ALL }])
  const other = await tokenFor(client, [{ pool: 'yours', verbs: ['read'] }])
  const { revision } = await client.store.list('')
  for (const [method, path, body] of [
    ['GET', '/v1/pools/yours', undefined],
    ['PUT', '/v1/pools/yours', POOL],
    ['DELETE', '/v1/pools/yours', undefined],
    ['PUT', '/v1/pools/mine', { ...POOL, cpuMillis: 4_096_000 }],
    ['PUT', '/v1/pools/new', POOL],
    ['DELETE', '/v1/pools/mine', undefined],
    ['GET', '/v1/pools/mine%2F..%2Fyours', undefined],
    ['GET', '/v1/pools/*', undefined],
    ['GET', `/v1/tokens/${other.id}`, undefined],
    ['DELETE', `/v1/tokens/${other.id}`, undefined],
    ['GET', `/v1/tokens/..%2Fpool%2Fyours`, undefined],
  ] as const) {
    const answer = await call(method, path, { token, body })
    t.ok(answer.status === 403 || answer.status === 404, `${method} ${path}: ${answer.status}`)
    t.notMatch(answer.json, { cpuMillis: Number })
  }
  t.match((await call('GET', '/v1/pools', { token })).json, { pools: [{ name: 'mine' }] })
  t.match((await call('GET', '/v1/tokens', { token })).json, { tokens: [{ id }] })
  t.equal((await client.store.list('')).revision, revision)
})

t.test('nobody gives a token more than the giver has', async (t) => {
  const client = await poolsFor(t)
  const { call, store } = client
  const scope = (pool: string, ...verbs: string[]) => ({ pool, verbs })
  const reader = await tokenFor(client, [scope('*', 'read', 'write', 'share')])
  const mine = await tokenFor(client, [scope('mine', 'admin', 'read')])
  const split = await tokenFor(client, [scope('mine', 'admin'), scope('yours', 'read', 'write')])
  const wide = await tokenFor(client, [scope('*', 'read'), scope('mine', 'admin')])
  const { revision } = await store.list('')
  for (const [who, scopes, field] of [
    [reader, [scope('*', 'read')], '/scopes/0/pool'],
    [reader, [scope('mine', 'read')], '/scopes/0/pool'],
    [mine, [scope('*', 'read')], '/scopes/0/pool'],
    [mine, [scope('yours', 'read')], '/scopes/0/pool'],
    [mine, [scope('mine', 'read'), scope('yours', 'read')], '/scopes/1/pool'],
    [mine, [scope('mine', 'write')], '/scopes/0/verbs/0'],
    [mine, [scope('mine', 'read', 'share')], '/scopes/0/verbs/1'],
    [split, [scope('mine', 'write')], '/scopes/0/verbs/0'],
    [split, [scope('yours', 'read')], '/scopes/0/pool'],
    [wide, [scope('*', 'read')], '/scopes/0/pool'],
    [wide, [scope('yours', 'read')], '/scopes/0/pool'],
    [wide, [scope('*', 'admin')], '/scopes/0/pool'],
  ] as const) {
    const answer = await call('POST', '/v1/tokens', { token: who.token, body: { label: '', scopes } })
    t.match(answer, { status: 403, json: { code: 'api_forbidden', field } }, JSON.stringify(scopes))
  }
  t.equal((await store.list('')).revision, revision)
  const body = { label: '', scopes: [scope('mine', 'read', 'admin')] }
  const child = await call('POST', '/v1/tokens', { token: mine.token, body })
  t.equal(child.status, 201, 'what it has it may give')
  const grandchild = { label: '', scopes: [scope('mine', 'write')] }
  t.equal(
    (await call('POST', '/v1/tokens', { token: String(child.json.token), body: grandchild })).status,
    403,
  )
  t.match(
    await call('POST', '/v1/tokens', {
      token: wide.token,
      body: { label: '', scopes: [scope('mine', 'read')] },
    }),
    {
      status: 201,
    },
  )
})

t.test('no token makes one that outlives it', async (t) => {
  let now = new Date('2030-01-01T00:00:00Z')
  const { call } = await apiFor(t, { now: () => now })
  const scopes = [{ pool: '*', verbs: ALL }]
  const end = '2030-01-02T00:00:00Z'
  const make = async (token: string, expiresAt?: string) =>
    call('POST', '/v1/tokens', { token, body: { label: '', scopes, ...(expiresAt && { expiresAt }) } })
  const parent = String((await make(TOKEN, end)).json.token)
  const longer = await make(parent, '2030-01-02T00:00:00.001Z')
  t.match(longer, { status: 403, json: { field: '/expiresAt' } })
  t.equal((await make(parent, '2030-01-01T12:00:00Z')).status, 201)
  const child = await make(parent)
  t.equal(child.json.expiresAt, end, 'its end is the end of its maker')
  now = new Date('2030-01-02T00:00:00Z')
  for (const token of [parent, String(child.json.token)]) {
    t.match(await call('GET', '/v1/whoami', { token }), { status: 401 })
    t.match(await make(token), { status: 401 })
  }
})

t.test('a token cannot be written, only made', async (t) => {
  const client = await apiFor(t)
  const { id, token } = await tokenFor(client, [{ pool: '*', verbs: ['read'] }])
  const body = { label: '', scopes: [{ pool: '*', verbs: ALL }] }
  for (const method of ['PUT', 'PATCH', 'POST']) {
    for (const caller of [TOKEN, token]) {
      t.equal((await client.call(method, `/v1/tokens/${id}`, { body, token: caller })).status, 405)
    }
  }
  t.match((await client.call('GET', '/v1/whoami', { token })).json, { scopes: [{ verbs: ['read'] }] })
})

t.test('nothing that the API does not know comes into the store with what it does', async (t) => {
  const { call, store } = await poolsFor(t)
  const { revision } = await store.list('')
  const deep = `${'['.repeat(6_000)}${']'.repeat(6_000)}`
  for (const [method, path, body, field] of [
    [
      'POST',
      '/v1/tokens',
      `{"label":"","scopes":[{"pool":"mine","verbs":["read"],"x":${deep}}]}`,
      '/scopes/0/x',
    ],
    ['PUT', '/v1/vms/a', `{"pool":"mine","ports":{"80":{"visibility":"public","x":${deep}}}}`, '/ports/80/x'],
  ] as const) {
    t.match(await call(method, path, { body }), { status: 422, json: { field } }, field)
  }
  t.equal((await store.list('')).revision, revision)
})
