/** Logins: who sees them, the end of one, and the end of all of a user's. */

import t, { type Test } from 'tap'
import type { SessionRecord } from '../../../routing/records/logins.ts'
import { apiFor } from './api-client.ts'
import { scopedTokenFor } from './pools-and-tokens.ts'
import { documentsOf } from './vm-client.ts'

const NOW = '2030-01-01T00:00:00.000Z'
const END = '2030-01-20T00:00:00.000Z'
const ADA = 'idp|ada/1'

function sessionOf(id: string, user: string, more: Partial<SessionRecord> = {}): SessionRecord {
  const times = { createdAt: '2029-12-31T00:00:00Z', expiresAt: END }
  return { id, user, email: 'ada@example.test', method: 'oidc', ...times, ...more }
}

async function bedFor(t: Test, sessions: readonly SessionRecord[], longestDays = 30) {
  const client = await apiFor(t, { now: () => new Date(NOW), longestDays })
  for (const session of sessions) await client.store.put(`session/${session.id}`, { ...session })
  const audits = async () =>
    Object.values(await documentsOf(client, 'audit/')).map(({ action, key }) => `${action} ${key}`)
  return { ...client, audits }
}

t.test('lists logins, of one user if asked', async (t) => {
  const { call } = await bedFor(t, [sessionOf('one', ADA), sessionOf('two', 'bob'), sessionOf('three', ADA)])
  const { json } = await call('GET', '/v1/sessions')
  t.same(
    (json.sessions as { id: string }[]).map(({ id }) => id),
    ['one', 'three', 'two'],
  )
  t.match((await call('GET', '/v1/sessions/one')).json, { ...sessionOf('one', ADA), revision: Number })
  const { json: hers } = await call('GET', `/v1/sessions?user=${encodeURIComponent(ADA)}`)
  t.match(hers, { sessions: [{ id: 'one' }, { id: 'three' }] })
  t.strictSame((await call('GET', '/v1/sessions?user=nobody')).json, { sessions: [] })
  t.equal((await call('GET', '/v1/sessions?user=')).status, 400)
})

t.test('ends one, and all that came of it', async (t) => {
  const { call, store, audits } = await bedFor(t, [sessionOf('one', ADA), sessionOf('two', ADA)])
  t.equal((await call('DELETE', '/v1/sessions/one')).status, 204)
  t.strictSame(await documentsOf({ store }, 'revocation/'), {
    'session/one': { kind: 'session', value: 'one', at: NOW, expiresAt: END },
  })
  t.same(Object.keys(await documentsOf({ store }, 'session/')), ['two'])
  t.same(await audits(), ['delete session/one'])
  t.equal((await call('DELETE', '/v1/sessions/one')).status, 404)
  t.equal((await call('GET', '/v1/sessions/one')).status, 404)
  const stale = { headers: { 'if-match': '"1000"' } }
  t.equal((await call('DELETE', '/v1/sessions/two', stale)).status, 412)
})

t.test('ends one that cannot be read', async (t) => {
  const { call, store } = await bedFor(t, [])
  await store.put('session/one', { id: 'one' })
  t.strictSame((await call('GET', '/v1/sessions')).json, { sessions: [] })
  t.equal((await call('DELETE', '/v1/sessions/one')).status, 204)
  t.match(await documentsOf({ store }, 'revocation/'), { 'session/one': { at: NOW } })
})

t.test('ends everything of a user, and nothing of others', async (t) => {
  const late = sessionOf('late', ADA, { expiresAt: '2030-06-01T00:00:00Z' })
  const next = sessionOf('next', ADA, { createdAt: '2030-01-01T00:00:01Z' })
  const { call, store, audits } = await bedFor(t, [
    sessionOf('one', ADA),
    late,
    next,
    sessionOf('two', 'idp'),
  ])
  const path = `/v1/users/${encodeURIComponent(ADA)}/sessions`
  const ended = { user: ADA, sessions: 2, keys: 0, deletedKeys: 0 }
  t.match(await call('DELETE', path), { status: 200, json: ended })
  t.strictSame(await documentsOf({ store }, 'revocation/'), {
    [`user/${ADA}`]: { kind: 'user', value: ADA, at: NOW, expiresAt: late.expiresAt },
  })
  t.same(Object.keys(await documentsOf({ store }, 'session/')).sort(), ['next', 'two'], 'a new login counts')
  t.same(await audits(), [`create revocation/user/${ADA}`])
  const sooner = { kind: 'user', value: 'bob', at: '2029-01-01T00:00:00Z', expiresAt: '2035-01-01T00:00:00Z' }
  await store.put('revocation/user/bob', sooner)
  t.equal((await call('DELETE', '/v1/users/bob/sessions')).status, 200, 'also without a login')
  t.match(await store.get('revocation/user/bob'), { value: { ...sooner, at: NOW } })
  t.equal((await call('DELETE', '/v1/users/cy/sessions')).status, 200)
  const selfSigned = { value: { expiresAt: '2030-02-01T00:00:00.000Z' } }
  t.match(await store.get('revocation/user/cy'), selfSigned, 'it outlives tokens that cy signed before')
})

t.test('the end of a user is known for as long as anything of theirs could last', async (t) => {
  const { call, store } = await bedFor(t, [sessionOf('one', ADA)], 90)
  t.equal((await call('DELETE', '/v1/users/cy/sessions')).status, 200)
  t.match(await store.get('revocation/user/cy'), { value: { expiresAt: '2030-04-02T00:00:00.000Z' } })
})

t.test('keeps the keys of a user, or deletes them with the same commit', async (t) => {
  const { call, store, audits } = await bedFor(t, [sessionOf('one', ADA)])
  for (const [id, user] of [
    ['k1', ADA],
    ['k2', ADA],
    ['k3', 'bob'],
  ]) {
    await store.put(`key/${id}`, {
      ...{ id, user, type: 'ssh-ed25519', publicKey: 'A'.repeat(68), label: '', createdAt: NOW },
    })
  }
  const path = `/v1/users/${encodeURIComponent(ADA)}/sessions`
  t.match((await call('DELETE', path)).json, { sessions: 1, keys: 2, deletedKeys: 0 })
  t.equal(Object.keys(await documentsOf({ store }, 'key/')).length, 3)
  t.match((await call('DELETE', `${path}?keys=delete`)).json, { sessions: 0, keys: 0, deletedKeys: 2 })
  t.same(Object.keys(await documentsOf({ store }, 'key/')), ['k3'])
  t.same((await audits()).filter((text) => text.includes(' key/')).sort(), ['delete key/k1', 'delete key/k2'])
  t.equal((await call('DELETE', `${path}?keys=all`)).status, 400)
})

t.test('clears away more logins than one commit holds', async (t) => {
  const many = Array.from({ length: 450 }, (_item, index) => sessionOf(`s${index}`, ADA))
  const { call, store } = await bedFor(t, many)
  t.match((await call('DELETE', `/v1/users/${encodeURIComponent(ADA)}/sessions`)).json, { sessions: 450 })
  t.same(await documentsOf({ store }, 'session/'), {})
})

t.test('is for the operators alone', async (t) => {
  const client = await bedFor(t, [sessionOf('one', ADA)])
  const { token: ruler } = await scopedTokenFor(client, [{ pool: '*', verbs: ['admin'] }])
  const others = [
    [{ pool: '*', verbs: ['read', 'write', 'share'] }],
    [{ pool: 'mine', verbs: ['read', 'write', 'share', 'admin'] }],
  ]
  const calls = [
    ['GET', '/v1/sessions'],
    ['GET', '/v1/sessions/one'],
    ['DELETE', '/v1/sessions/one'],
    ['DELETE', '/v1/sessions/nobody'],
    ['DELETE', '/v1/users/ada/sessions'],
  ] as const
  for (const scopes of others) {
    const { token } = await scopedTokenFor(client, scopes)
    const { revision } = await client.store.list('')
    for (const [method, path] of calls) {
      t.match(await client.call(method, path, { token }), { status: 403 }, `${method} ${path}`)
    }
    t.equal((await client.store.list('')).revision, revision)
  }
  for (const [method, path] of calls.filter(([, path]) => !path.endsWith('nobody'))) {
    const { status } = await client.call(method, path, { token: ruler })
    t.ok(status === 200 || status === 204, `${method} ${path}`)
  }
})

t.test('there is nothing else at these addresses', async (t) => {
  const { call } = await bedFor(t, [])
  t.match(await call('POST', '/v1/sessions', { body: {} }), { status: 405, headers: { allow: 'GET, HEAD' } })
  t.match(await call('PUT', '/v1/sessions/x'), { status: 405, headers: { allow: 'GET, HEAD, DELETE' } })
  t.match(await call('GET', '/v1/users/x/sessions'), { status: 405, headers: { allow: 'DELETE' } })
  t.equal((await call('DELETE', '/v1/users/a%00b/sessions')).status, 404)
  t.equal((await call('DELETE', `/v1/users/${'x'.repeat(255)}/sessions`)).status, 404)
  t.equal((await call('DELETE', '/v1/sessions/a%2Fb')).status, 404)
})
