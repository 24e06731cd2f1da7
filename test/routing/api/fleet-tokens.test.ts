/** Tokens of a fleet: there is always one that may do everything, and the first one is never lost. */

import t, { type Test } from 'tap'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { apiFor, TOKEN } from './api-client.ts'
import { storeWith } from './watched-store.ts'

const TOKENS = '/v1/tokens'
const ALL = [{ pool: '*', verbs: ['read', 'write', 'share', 'admin'] }]
const FIRST = { body: { label: 'first', scopes: ALL }, headers: { 'idempotency-key': 'first' } }

/** A fleet, its first token, and what makes others with it. */
async function fleetFor(t: Test, options: Parameters<typeof apiFor>[1] = {}) {
  const client = await apiFor(t, { ...options, isFleet: true })
  const first = await client.call('POST', TOKENS, FIRST)
  t.equal(first.status, 201)
  const token = String(first.json.token)
  const make = async (body: object) => {
    const { status, json } = await client.call('POST', TOKENS, { token, body: { label: '', ...body } })
    t.equal(status, 201)
    return { id: String(json.id), token: String(json.token) }
  }
  const end = (id: string, by = token) => client.call('DELETE', `${TOKENS}/${id}`, { token: by })
  return { ...client, first, token, id: String(first.json.id), make, end }
}

t.test('gives the answer with the first token again, to the same request alone', async (t) => {
  const { call, store, first } = await fleetFor(t)
  const { revision } = await store.list('')
  const again = await call('POST', TOKENS, FIRST)
  t.match(again, { status: 201, headers: { 'idempotency-replayed': 'true' } })
  t.equal(again.text, first.text)
  const spent = { status: 401, json: { code: 'api_bootstrap_spent' } }
  t.match(await call('POST', TOKENS, { ...FIRST, headers: { 'idempotency-key': 'other' } }), spent)
  t.match(await call('POST', TOKENS, { body: FIRST.body }), spent)
  for (const path of ['/v1/whoami', '/v1/pools', TOKENS]) {
    t.match(await call('GET', path, { headers: FIRST.headers }), spent, path)
  }
  const vm = await call('POST', '/v1/vms', { body: {}, headers: FIRST.headers })
  t.match(vm, spent)
  const other = await call('POST', TOKENS, { ...FIRST, body: { label: 'other', scopes: ALL } })
  t.match(other, { status: 422, json: { code: 'api_idempotency_mismatch' } })
  t.equal((await store.list('')).revision, revision, 'and nothing is written')
})

t.test('gives it to no other edge', async (t) => {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  await fleetFor(t, { store })
  const other = await apiFor(t, { store, isFleet: true, token: `${TOKEN}-other` })
  const answer = await other.call('POST', TOKENS, { ...FIRST, token: `${TOKEN}-other` })
  t.match(answer, { status: 401, json: { code: 'api_bootstrap_spent' } })
})

t.test('has a first token that does not run out', async (t) => {
  const { call, store } = await apiFor(t, { isFleet: true })
  const body = { ...FIRST.body, expiresAt: '2099-01-01T00:00:00Z' }
  const refused = await call('POST', TOKENS, { body })
  t.match(refused, { status: 422, json: { field: '/expiresAt', detail: /must not run out/ } })
  t.strictSame((await store.list('')).documents, [])
  const scopes = [
    { pool: '*', verbs: ['read', 'write'] },
    { pool: '*', verbs: ['share', 'admin'] },
  ]
  t.equal((await call('POST', TOKENS, { body: { label: '', scopes } })).status, 201, 'in several scopes, too')
})

t.test('keeps the last token that may do everything', async (t) => {
  const clock = { now: Date.parse('2030-01-01T00:00:00Z') }
  const { id, make, end, store } = await fleetFor(t, { now: () => new Date(clock.now) })
  const last = { status: 409, json: { code: 'api_token_last' } }
  await make({ scopes: [{ pool: '*', verbs: ['read', 'write', 'admin'] }] })
  await make({ scopes: ALL, expiresAt: '2030-01-02T00:00:00Z' })
  clock.now = Date.parse('2030-01-02T00:00:00Z')
  t.match(await end(id), last, 'one lacks a verb, one has run out')
  t.ok(await store.get(`token/${id}`))
  const other = await make({ scopes: ALL })
  t.equal((await end(id)).status, 204)
  t.match(await end(other.id, other.token), last)
})

t.test('keeps one of two that are ended at once', async (t) => {
  const inner = await startMemoryStore()
  t.teardown(() => inner[Symbol.asyncDispose]())
  let meanwhile: (() => Promise<unknown>) | undefined
  const commit: Store['commit'] = async (mutations) => {
    const run = meanwhile
    meanwhile = undefined
    await run?.()
    return inner.commit(mutations)
  }
  const { id, token, make, end } = await fleetFor(t, { store: storeWith(inner, { commit }) })
  const other = await make({ scopes: ALL })
  meanwhile = async () => t.equal((await end(other.id)).status, 204)
  t.match(await end(id, token), { status: 409, json: { code: 'api_token_last' } })
  t.ok(await inner.get(`token/${id}`))
})

t.test('lets one process end all of them: its file token stays', async (t) => {
  const { call } = await apiFor(t)
  const { json } = await call('POST', TOKENS, { body: FIRST.body })
  t.equal((await call('DELETE', `${TOKENS}/${String(json.id)}`)).status, 204)
})
