/** Tokens of VMs: what is signed, what it is narrowed to, and the grant that it lives by. */

import t, { type Test } from 'tap'
import { AuthError } from '../../../auth/errors.ts'
import { MAX_GRANTS } from '../../../routing/vms/vm-size.ts'
import { grantOf, putGrant, putReport, reportOf } from '../vms/vm-documents.ts'
import type { ApiOptions } from './api-client.ts'
import { demandOf } from './test-signer.ts'
import { vmApiFor } from './vm-client.ts'

const VM = '/v1/vms/a'
const TOKENS = `${VM}/tokens`
const NOW = new Date('2030-01-01T00:00:00Z')
const SOON = '2030-01-01T00:00:01.500Z'
const THUMBPRINT = 'x'.repeat(43)

/** With the VM `a`, whose port 8000 is declared. */
async function bedFor(t: Test, options: ApiOptions = {}) {
  const client = await vmApiFor(t, { now: () => NOW, ...options })
  await client.call('PUT', VM, { body: { pool: 'web', ports: { 8000: { visibility: 'private' } } } })
  const post = (body: object, token?: string) =>
    client.call('POST', TOKENS, { body: { expiresAt: SOON, ...body }, ...(token && { token }) })
  return { ...client, post }
}

t.test('makes a token once, shows what it says, and ends it with its grant', async (t) => {
  const { call, store, post, audited } = await bedFor(t)
  const made = await post({ label: 'ci' })
  const { id, token, ...shown } = made.json
  t.match(id, /^[A-Za-z0-9]{12}$/)
  t.match(made, {
    status: 201,
    headers: { location: `${TOKENS}/${id}`, etag: `"${shown.revision}"`, 'cache-control': 'no-store' },
  })
  t.strictSame(demandOf(token), {
    kind: 'token',
    audience: 'a.example.test',
    subject: `token:${id}`,
    id,
    expiresAt: Math.ceil(Date.parse(SOON) / 1_000),
    claims: {},
  })
  t.strictSame(shown, {
    ...{ vm: 'a', label: 'ci', hostname: 'a.example.test', expiresAt: SOON },
    ...{ createdAt: NOW.toISOString(), createdBy: 'bootstrap', revision: shown.revision },
  })
  t.strictSame((await call('GET', `${TOKENS}/${id}`)).json, { id, ...shown }, 'the token is not shown again')
  t.strictSame((await call('GET', TOKENS)).json, { tokens: [{ id, ...shown }] })
  const to = { kind: 'token', value: id }
  const grant = { id, to, role: 'viewer', expiresAt: SOON }
  t.strictSame((await store.get('route/a.example.test'))?.value.grants, [grant], 'the rows have its grant')
  t.notOk((await store.get('route/8000--a.example.test'))?.value.grants)
  t.match((await call('GET', `${VM}/grants/${id}`)).json, {
    ...grant,
    label: 'ci',
    token: { hostname: 'a.example.test' },
  })
  t.equal((await call('DELETE', `${TOKENS}/${id}`)).status, 204)
  const gone = { kind: 'credential', value: id, expiresAt: SOON }
  t.match((await store.get(`revocation/credential/${id}`))?.value, gone, 'no other grant revives it')
  t.notOk((await store.get('route/a.example.test'))?.value.grants)
  t.equal((await call('DELETE', `${TOKENS}/${id}`)).status, 404)
  t.equal((await call('GET', `${TOKENS}/${id}`)).status, 404)
  const lines = (await audited()).filter((line) => line.includes('grant/'))
  t.same(lines, [`create grant/a/${id}`, `delete grant/a/${id}`])
})

t.test('is for one host name, and for the port that this leads to', async (t) => {
  const { call, store, post } = await bedFor(t)
  await putReport(store, reportOf('a', [80]))
  await call('PUT', '/v1/routes/own.web.example.test', { body: { vm: 'a', port: 9_000 } })
  const cases = [
    [{}, 'a.example.test', undefined],
    [{ port: 80 }, 'a.example.test', undefined],
    [{ hostname: 'A.Example.test.' }, 'a.example.test', undefined],
    [{ port: 8_000 }, '8000--a.example.test', [8_000]],
    [{ hostname: '8000--a.example.test' }, '8000--a.example.test', [8_000]],
    [{ hostname: 'own.web.example.test' }, 'own.web.example.test', [9_000]],
    [{ ports: [9_000, 22, 22] }, 'a.example.test', [22, 9_000]],
    [{ port: 8_000, ports: [3_000] }, '8000--a.example.test', [3_000]],
  ] as const
  for (const [body, hostname, ports] of cases) {
    const { status, json } = await post(body)
    t.equal(status, 201, JSON.stringify(body))
    t.strictSame([json.hostname, json.ports], [hostname, ports])
    const { audience, claims } = demandOf(json.token)
    t.strictSame([audience, claims.ports], [hostname, ports])
  }
})

t.test('is narrowed to methods, a path and a key, and hands on a text', async (t) => {
  const { post } = await bedFor(t)
  const limits = { methods: ['PUT', 'GET', 'GET'], pathPrefix: '/api/v1', ctx: '{"who":"ä"}' }
  const { json } = await post({ ...limits, proofThumbprint: THUMBPRINT })
  const shown = { ...limits, methods: ['GET', 'PUT'], proofThumbprint: THUMBPRINT }
  t.match(json, shown)
  const { pathPrefix: path, ctx, methods } = shown
  t.strictSame(demandOf(json.token).claims, { methods, path, ctx, cnf: { jkt: THUMBPRINT } })
})

t.test('names the field that is wrong, and changes nothing', async (t) => {
  const { call, post, revision } = await bedFor(t)
  await call('PUT', '/v1/vms/b', { body: { pool: 'web' } })
  const before = await revision()
  const cases = [
    ['/expiresAt', { expiresAt: undefined }],
    ['/expiresAt', { expiresAt: null }],
    ['/expiresAt', { expiresAt: 'tomorrow' }],
    ['/expiresAt', { expiresAt: NOW.toISOString() }],
    ['/expiresAt', { expiresAt: '2031-01-01T00:00:00.001Z' }],
    ['/label', { label: 'x'.repeat(201) }],
    ['/hostname', { hostname: 'b.example.test' }],
    ['/hostname', { hostname: 'admin.example.test' }],
    ['/hostname', { hostname: '' }],
    ['/hostname', { hostname: '9000--a.example.test' }],
    ['/hostname', { hostname: 'a.example.test:443' }],
    ['/port', { port: 9_000 }],
    ['/port', { port: 0 }],
    ['/port', { port: 8_000, hostname: 'a.example.test' }],
    ['/ports', { ports: [] }],
    ['/ports/0', { ports: [0] }],
    ['/methods', { methods: [] }],
    ['/methods/0', { methods: ['get'] }],
    ['/methods/1', { methods: ['GET', 'CONNECT'] }],
    ...['api', '', '/a%2fb', '/a b', '/a?b', '/a/../b', '/..', '/.', '/a//b', '/a/.;x/b'].map(
      (pathPrefix) => ['/pathPrefix', { pathPrefix }] as const,
    ),
    ['/ctx', { ctx: 'x'.repeat(1_025) }],
    ['/ctx', { ctx: '語'.repeat(1_024) }],
    ['/ctx', { ctx: 'a\r\nx-landfall-user: bob' }],
    ['/ctx', { ctx: '\u0085' }],
    ['/ctx', { ctx: '\ud800' }],
    ['/proofThumbprint', { proofThumbprint: 'x' }],
    ['/role', { role: 'root' }],
    ['/to', { to: { kind: 'user', value: 'x' } }],
  ] as const
  for (const [field, body] of cases) {
    const answer = await post(body)
    t.match(answer, { status: 422, json: { code: 'api_record_invalid', field } }, JSON.stringify(body))
  }
  t.equal(await revision(), before)
  t.match(await call('PUT', TOKENS, { body: {} }), { status: 405, headers: { allow: 'GET, HEAD, POST' } })
  t.equal((await call('PUT', `${TOKENS}/x`, { body: {} })).status, 405)
  t.equal((await post({ expiresAt: '2031-01-01T00:00:00Z' })).status, 201, 'a year is 365 days')
})

t.test('how long it may live is a setting', async (t) => {
  const { post } = await bedFor(t, { tokenDays: 2 })
  t.equal((await post({ expiresAt: '2030-01-03T00:00:00Z' })).status, 201)
  const refused = await post({ expiresAt: '2030-01-03T00:00:00.001Z' })
  t.match(refused, { status: 422, json: { detail: /at most 2 days ahead \(LANDFALL_TOKEN_DAYS\)/ } })
})

t.test('is for those who may share the VM', async (t) => {
  const { call, post, lab, webToken, revision } = await bedFor(t)
  const id = String((await post({})).json.id)
  const [reader, sharer] = [await webToken('read', 'write'), await webToken('share')]
  const before = await revision()
  for (const [method, path] of [
    ['GET', TOKENS],
    ['GET', `${TOKENS}/${id}`],
    ['DELETE', `${TOKENS}/${id}`],
  ] as const) {
    t.equal((await call(method, path, { token: lab })).status, 404, `${method} ${path}`)
  }
  t.equal((await post({}, lab)).status, 404)
  t.match(await post({}, reader), { status: 403, json: { detail: /"share" in the pool "web"/ } })
  t.equal((await call('DELETE', `${TOKENS}/${id}`, { token: reader })).status, 403)
  t.equal((await call('GET', `${TOKENS}/${id}`, { token: reader })).status, 200)
  t.equal((await call('POST', '/v1/vms/nobody/tokens', { body: { expiresAt: SOON } })).status, 404)
  t.equal(await revision(), before)
  t.match(await post({}, sharer), { status: 201 })
  t.equal((await call('DELETE', `${TOKENS}/${id}`, { token: sharer })).status, 204)
})

t.test('other grants are no tokens', async (t) => {
  const { call, store } = await bedFor(t)
  await putGrant(store, grantOf('a', 'g'))
  await call('POST', `${VM}/links`, { body: { expiresAt: SOON } })
  t.strictSame((await call('GET', TOKENS)).json, { tokens: [] })
  t.equal((await call('GET', `${TOKENS}/g`)).status, 404)
  t.equal((await call('DELETE', `${TOKENS}/g`)).status, 404)
  t.equal((await call('GET', `${VM}/grants/g`)).status, 200)
})

t.test('the same Idempotency-Key gives the same token', async (t) => {
  const { call } = await bedFor(t)
  const request = { body: { expiresAt: SOON }, headers: { 'idempotency-key': 'one' } }
  const first = await call('POST', TOKENS, request)
  const again = await call('POST', TOKENS, request)
  t.match(again, { status: 201, headers: { 'idempotency-replayed': 'true', 'cache-control': 'no-store' } })
  t.strictSame(again.json, first.json)
  t.match((await call('GET', TOKENS)).json.tokens, { length: 1 })
})

t.test('one that cannot be signed leaves nothing behind', async (t) => {
  const sign = () => Promise.reject(new AuthError('auth_stale', 'no-key'))
  const { post, revision } = await bedFor(t, { signer: { sign } })
  const before = await revision()
  t.match(await post({}), { status: 503, headers: { 'retry-after': '1' }, json: { code: 'auth_stale' } })
  t.equal(await revision(), before)
})

t.test('a VM has a hundred grants, tokens and share links at most', async (t) => {
  const { call, store, post } = await bedFor(t)
  for (let index = 2; index < MAX_GRANTS; index += 1) {
    await putGrant(store, grantOf('a', `g${index}`, { ports: [index] }))
  }
  t.equal((await post({})).status, 201)
  t.equal((await call('POST', `${VM}/links`, { body: { expiresAt: SOON } })).status, 201)
  const full = [
    await post({}),
    await call('POST', `${VM}/links`, { body: { expiresAt: SOON } }),
    await call('POST', `${VM}/grants`, { body: { to: { kind: 'user', value: 'ann' }, role: 'viewer' } }),
  ]
  for (const answer of full) {
    t.match(answer, { status: 422, json: { detail: /100 grants, tokens and share links/ } })
  }
})

t.test('grants that ran out make room for a token', async (t) => {
  const { store, post, call } = await bedFor(t)
  const end = new Date(NOW.getTime() - 1_000).toISOString()
  for (let n = 0; n < 100; n += 1) {
    const to = { kind: 'user', value: `u${n}` }
    const times = { expiresAt: end, createdAt: end, createdBy: 'x' }
    await store.put(`grant/a/old-${n}`, { id: `old-${n}`, vm: 'a', to, role: 'viewer', ...times })
  }
  const { status, json } = await post({})
  t.equal(status, 201)
  t.match((await call('GET', `${VM}/grants`)).json, { grants: [{ id: json.id }] })
  t.equal((await store.list('audit/')).documents.filter(({ value }) => value.action === 'delete').length, 100)
})
