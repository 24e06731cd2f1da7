/** `/v1/hosts` and `/v1/edges`: who is there, who is alive, and that only the dead can be forgotten. */

import t, { type Test } from 'tap'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import { apiFor } from './api-client.ts'
import { scopedTokenFor } from './pools-and-tokens.ts'

const NOON = Date.parse('2026-03-01T12:00:00Z')
const HOST = {
  cpuMillis: 8_000,
  memoryBytes: 1_000,
  diskBytes: 2_000,
  images: ['hello'],
  version: '1.0.0',
  startedAt: '2026-03-01T11:00:00Z',
}
const EDGE = { version: '1.0.0', startedAt: '2026-03-01T11:00:00Z' }
const KINDS = [
  { kind: 'host', record: HOST },
  { kind: 'edge', record: EDGE },
] as const

async function bedFor(t: Test) {
  const clock = { now: NOON }
  const store = await startMemoryStore({ now: () => clock.now })
  t.teardown(() => store[Symbol.asyncDispose]())
  const client = await apiFor(t, { store })
  const add = async (kind: string, name: string) => {
    const record = kind === 'host' ? HOST : EDGE
    await store.put(`${kind}/${name}`, { name, ...record })
  }
  return { ...client, clock, add }
}

for (const { kind, record } of KINDS) {
  const path = `/v1/${kind}s`

  t.test(`${kind}s are alive for as long as their lease`, async (t) => {
    const { call, store, clock, add } = await bedFor(t)
    await add(kind, 'a')
    await add(kind, 'b')
    await store.acquireLease(`${kind}/a`, 'run-1', 15_000)
    await store.acquireLease(kind === 'host' ? 'edge/b' : 'host/b', 'run-2', 15_000)
    const alive = { name: 'a', ...record, isAlive: true, leaseExpiresAt: '2026-03-01T12:00:15.000Z' }
    t.match((await call('GET', path)).json, { [`${kind}s`]: [alive, { name: 'b', isAlive: false }] })
    t.match((await call('GET', `${path}/a`)).json, { ...alive, revision: 1 })
    clock.now += 15_000
    const { json, headers } = await call('GET', `${path}/a`)
    t.match(json, { name: 'a', isAlive: false })
    t.notOk('leaseExpiresAt' in json)
    t.notOk(headers.etag, 'a life that ends is no new revision')
  })

  t.test(`a ${kind} that is alive cannot be forgotten, a dead one can`, async (t) => {
    const { call, store, clock, add } = await bedFor(t)
    await add(kind, 'a')
    await store.acquireLease(`${kind}/a`, 'run-1', 15_000)
    const refused = await call('DELETE', `${path}/a`)
    t.match(refused, { status: 409, json: { code: 'api_member_alive' } })
    t.match(refused.json.detail, /2026-03-01T12:00:15/)
    clock.now += 15_000
    t.match(await call('DELETE', `${path}/a`, { headers: { 'if-match': '"99"' } }), { status: 412 })
    t.match(await call('DELETE', `${path}/a`, { headers: { 'if-match': '"1"' } }), { status: 204 })
    t.match(await call('GET', `${path}/a`), { status: 404 })
    t.match(await call('DELETE', `${path}/a`), { status: 404 })
    const { json } = await call('GET', '/v1/audit')
    t.match(json, { audit: [{ action: 'delete', key: `${kind}/a`, before: { name: 'a' } }] })
  })

  t.test(`${kind}s are for those who may read all pools`, async (t) => {
    const client = await bedFor(t)
    const { call } = client
    await client.add(kind, 'a')
    const { token } = await scopedTokenFor(client, [
      { pool: 'web', verbs: ['read', 'write', 'share', 'admin'] },
    ])
    t.match((await call('GET', path, { token })).json, { [`${kind}s`]: [] })
    t.match(await call('GET', `${path}/a`, { token }), { status: 404 })
    t.match(await call('DELETE', `${path}/a`, { token }), { status: 403 })
    const { token: reader } = await scopedTokenFor(client, [{ pool: '*', verbs: ['read'] }])
    t.match(await call('GET', `${path}/a`, { token: reader }), { status: 200 })
    t.match(await call('DELETE', `${path}/a`, { token: reader }), { status: 403 })
  })

  t.test(`names of ${kind}s that cannot be lead nowhere`, async (t) => {
    const { call, store, add } = await bedFor(t)
    await add(kind, 'a')
    await store.put(`${kind}/a/b`, {})
    for (const name of ['A', 'a%2fb', 'a%00', '..%2fpool', '__proto__', 'x'.repeat(64), '%e2%82%ac']) {
      t.match(await call('GET', `${path}/${name}`), { status: 404 }, name)
      t.match(await call('DELETE', `${path}/${name}`), { status: 404 }, name)
    }
    t.match(await call('PUT', `${path}/a`, { body: {} }), {
      status: 405,
      headers: { allow: 'GET, HEAD, DELETE' },
    })
    t.match(await call('POST', path, { body: {} }), { status: 405 })
    t.equal((await store.list('')).documents.length, 2)
  })
}
