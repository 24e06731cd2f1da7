/** Public SSH keys as a resource, known by their fingerprint. */

import t from 'tap'
import { apiFor, tokenFor } from './api-client.ts'

const KEYS = '/v1/keys'
const ID = 'BFTh1VXbEeAeevwNbCRTrcwDotlMRLYqSz7XIMW79js'
const ITEM = `${KEYS}/${ID}`
const PUBLIC_KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINMuCGBF3fEVbaf8PetAR1Ny8GTdY6RplrNJOjGx/i9U'
const BODY = { user: 'ada@example.com', publicKey: `${PUBLIC_KEY} ada@laptop` }
const SHOWN = {
  id: ID,
  user: 'ada@example.com',
  type: 'ssh-ed25519',
  publicKey: PUBLIC_KEY,
  fingerprint: `SHA256:${ID}`,
  label: 'ada@laptop',
}

t.test('adds, shows, changes and removes a key', async (t) => {
  const { call, store } = await apiFor(t)
  const added = await call('POST', KEYS, { body: BODY })
  t.match(added, { status: 201, headers: { location: ITEM, etag: '"1"' }, json: { ...SHOWN, revision: 1 } })
  t.match(await store.get(`key/${ID}`), { value: { publicKey: PUBLIC_KEY.split(' ')[1] } })
  t.strictSame((await call('GET', ITEM)).json, added.json)
  t.strictSame((await call('GET', KEYS)).json, { keys: [added.json] })

  const sent = { user: 'bob@example.com', publicKey: String(added.json.publicKey) }
  const put = await call('PUT', ITEM, { body: sent, headers: { 'if-match': '"1"' } })
  t.match(put, {
    status: 200,
    json: { user: 'bob@example.com', label: 'ada@laptop', createdAt: added.json.createdAt },
  })
  t.equal((await call('PUT', ITEM, { body: { ...sent, label: '' } })).json.label, '')
  t.equal((await call('PUT', ITEM, { body: BODY, headers: { 'if-match': '"1"' } })).status, 412)
  t.equal((await call('DELETE', ITEM)).status, 204)
  t.equal((await call('GET', ITEM)).status, 404)
  t.equal((await call('DELETE', ITEM)).status, 404)
  t.match(await call('PUT', ITEM, { body: BODY }), { status: 201, headers: { location: ITEM } })
})

t.test('adds a key once', async (t) => {
  const { call } = await apiFor(t)
  await call('POST', KEYS, { body: BODY })
  const again = await call('POST', KEYS, { body: { ...BODY, user: 'eve@example.com' } })
  const detail = 'It is the key of "ada@example.com": /v1/keys/'
  t.match(again, { status: 409, json: { code: 'api_name_taken', field: '/publicKey', detail: detail + ID } })
  t.equal((await call('GET', ITEM)).json.user, 'ada@example.com')
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => call('PUT', ITEM, { body: BODY, headers: { 'if-none-match': '*' } })),
  )
  t.ok(answers.every(({ status }) => status === 412))
})

t.test('names the field of what is no key', async (t) => {
  const { call, store } = await apiFor(t)
  const cases = [
    ['POST', KEYS, '/publicKey', { ...BODY, publicKey: 'ssh-ed25519 AAAA' }],
    ['POST', KEYS, '/publicKey', { ...BODY, publicKey: `${PUBLIC_KEY} ${'x'.repeat(1_000)}` }],
    ['POST', KEYS, '/publicKey', { user: 'a' }],
    ['POST', KEYS, '/user', { ...BODY, user: '' }],
    ['POST', KEYS, '/label', { ...BODY, label: 'x'.repeat(201) }],
    ['POST', KEYS, '/id', { ...BODY, id: 'x' }],
    ['PUT', `${KEYS}/other`, '/publicKey', BODY],
    ['PUT', `${KEYS}/a%2Fb`, '/id', BODY],
  ] as const
  for (const [method, path, field, body] of cases) {
    const answer = await call(method, path, { body })
    t.match(answer, { status: 422, json: { code: 'api_record_invalid', field } }, `${field} ${path}`)
  }
  t.equal((await store.list('')).revision, 0)
})

t.test('takes a long comment as a shorter label', async (t) => {
  const { call } = await apiFor(t)
  const { json } = await call('POST', KEYS, {
    body: { ...BODY, publicKey: `${PUBLIC_KEY} ${'x'.repeat(300)}` },
  })
  t.equal(String(json.label).length, 200)
})

t.test('belongs to no pool: only who may do so everywhere reads and writes', async (t) => {
  const client = await apiFor(t)
  const { call } = client
  await call('POST', KEYS, { body: BODY })
  await call('PUT', '/v1/pools/web', { body: { cpuMillis: 100, memoryBytes: 1, diskBytes: 1, host: 'a' } })
  const pool = await tokenFor(client, [{ pool: 'web', verbs: ['read', 'write', 'share', 'admin'] }])
  const reader = await tokenFor(client, [{ pool: '*', verbs: ['read', 'write', 'share'] }])
  t.strictSame((await call('GET', KEYS, pool)).json, { keys: [] })
  t.equal((await call('GET', ITEM, pool)).status, 404)
  t.equal((await call('GET', ITEM, reader)).status, 200)
  for (const { token } of [pool, reader]) {
    t.equal((await call('POST', KEYS, { body: BODY, token })).status, 403)
    t.equal((await call('PUT', ITEM, { body: BODY, token })).status, 403)
    t.equal((await call('DELETE', ITEM, { token })).status, 403)
  }
  t.equal((await call('GET', ITEM)).status, 200)
})
