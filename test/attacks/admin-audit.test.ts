/** Attacks on the audit: no change without its record, in the same commit, and no record with a secret. */

import t from 'tap'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import type { Mutation, Store } from '../../routing/store/store.ts'
import { apiFor, TOKEN, tokenFor } from '../routing/api/api-client.ts'

const POOL = { cpuMillis: 1_000, memoryBytes: 1, diskBytes: 1, host: 'local' }
const ALL = [{ pool: '*', verbs: ['read', 'write', 'share', 'admin'] }]

/** A store that keeps what was asked of it. */
async function watchedStore(): Promise<{ store: Store; commits: (readonly Mutation[])[] }> {
  const store = await startMemoryStore()
  const commits: (readonly Mutation[])[] = []
  const watched: Partial<Store> = {
    commit: (mutations) => {
      commits.push(mutations)
      return store.commit(mutations)
    },
    put: (key, value, condition) => {
      commits.push([{ key, value }])
      return store.put(key, value, condition)
    },
    delete: (key, condition) => {
      commits.push([{ key, value: undefined }])
      return store.delete(key, condition)
    },
  }
  const proxied = new Proxy(store, {
    get: (target, name) => {
      const member: unknown = Reflect.get(watched, name) ?? Reflect.get(target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
  return { store: proxied, commits }
}

/** Keys that a commit changes and no audit record of the same commit names. */
function findUnaudited(mutations: readonly Mutation[]): readonly string[] {
  const audited = mutations.filter(({ key }) => key.startsWith('audit/')).map(({ value }) => value?.key)
  const changed = mutations
    .flatMap(({ key, isCheck }) => (isCheck ? [] : key))
    .filter((key) => !/^(audit|idempotency)\//.test(key))
  // These follow from what was changed beside them.
  const isDerived = (key: string) =>
    /^(route|binding|join|claim|inside|snapshot|grave|call)\//.test(key) && audited.length > 0
  return changed.filter((key) => !audited.includes(key) && !isDerived(key))
}

t.test('every call that changes something is recorded in the same commit', async (t) => {
  const { store, commits } = await watchedStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const client = await apiFor(t, { store })
  const { call } = client
  await call('PUT', '/v1/pools/web', { body: POOL })
  const { paths } = (await call('GET', '/v1/openapi.json')).json as {
    paths: Record<
      string,
      Record<string, { requestBody?: { content: Record<string, { example?: unknown }> } }>
    >
  }
  const names: Record<string, string> = {
    pool: 'web',
    vm: 'blog',
    port: '80',
    hostname: 'app.example.test',
    id: 'x',
  }
  for (const method of ['put', 'post', 'delete']) {
    for (const [path, operations] of Object.entries(paths)) {
      const operation = operations[method]
      if (operation === undefined) continue
      const address = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => names[name] ?? 'local')
      const body = operation.requestBody?.content['application/json']?.example
      await call(method.toUpperCase(), address, { body, headers: { 'idempotency-key': path } })
    }
  }
  const kinds = new Set(commits.flat().map(({ key }) => key.split('/')[0]))
  for (const kind of ['pool', 'token', 'key', 'audit'])
    t.ok(kinds.has(kind), `something of the kind ${kind} was changed`)
  for (const mutations of commits) t.strictSame(findUnaudited(mutations), [])
})

t.test('no header keeps a change out of the audit', async (t) => {
  const { store, commits } = await watchedStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const { call } = await apiFor(t, { store })
  let cpuMillis = 1_000
  for (const headers of [
    { 'x-request-id': 'a/../../pool/x' },
    { 'x-request-id': '' },
    { 'x-request-id': 'same' },
    { 'x-request-id': 'same' },
    { 'if-match': '*' },
    { prefer: 'return=minimal, respond-async', 'x-dry-run': '1', 'x-http-method-override': 'GET' },
    { 'idempotency-key': 'a' },
  ]) {
    cpuMillis += 1
    const { status } = await call('PUT', '/v1/pools/web', { body: { ...POOL, cpuMillis }, headers })
    t.ok(status === 200 || status === 201, JSON.stringify(headers))
  }
  t.equal(commits.length, 7)
  for (const mutations of commits) t.strictSame(findUnaudited(mutations), [])
  const requestIds = (await store.list('audit/')).documents.map(({ value }) => String(value.requestId))
  t.equal(requestIds.length, 7)
  t.ok(
    requestIds.every((id) => /^[\w.-]{1,64}$/.test(id)),
    requestIds.join(),
  )
})

t.test('many changes at once are recorded, each with what it really found', async (t) => {
  const { call, store } = await apiFor(t)
  await Promise.all(
    Array.from({ length: 30 }, (_, index) =>
      call('PUT', '/v1/pools/web', { body: { ...POOL, cpuMillis: 1_000 + index } }),
    ),
  )
  const records = (await store.list('audit/')).documents.map(({ value, revision }) => ({ value, revision }))
  t.equal(records.length, 30)
  const inOrder = records.sort((one, other) => one.revision - other.revision).map(({ value }) => value)
  for (const [index, { before }] of inOrder.entries()) t.strictSame(before, inOrder[index - 1]?.after)
})

t.test('a change whose record cannot be written does not happen', async (t) => {
  const { store } = await watchedStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const { call } = await apiFor(t, { store, now: () => new Date(Number.NaN) })
  t.equal((await call('PUT', '/v1/pools/web', { body: POOL })).status, 500)
  t.strictSame((await store.list('')).documents, [])
})

t.test('nobody writes, changes or deletes what was recorded', async (t) => {
  const { call, store } = await apiFor(t)
  await call('PUT', '/v1/pools/web', { body: POOL })
  const [record] = (await store.list('audit/')).documents
  const id = String(record?.value.id)
  for (const path of [
    '/v1/audit',
    `/v1/audit/${id}`,
    `/v1/pools/..%2Faudit%2F${id}`,
    `/v1/tokens/..%2Faudit%2F${id}`,
  ]) {
    for (const method of ['PUT', 'POST', 'PATCH', 'DELETE']) {
      const { status = 0 } = await call(method, path, { body: {} })
      t.ok([404, 405, 422].includes(status), `${method} ${path}: ${status}`)
    }
  }
  t.strictSame((await store.list('audit/')).documents, [record])
})

t.test('no record holds a secret, nor what stands for one', async (t) => {
  const client = await apiFor(t)
  const { call, store, lines } = client
  const { id, token } = await tokenFor(client, ALL)
  const child = await call('POST', '/v1/tokens', {
    token,
    body: { label: 'child', scopes: ALL },
    headers: { 'idempotency-key': 'a' },
  })
  const digests = (await store.list('token/')).documents.map(({ value }) => String(value.digest))
  await call('DELETE', `/v1/tokens/${String(child.json.id)}`, { token })
  await call('DELETE', `/v1/tokens/${id}`)
  const records = JSON.stringify((await store.list('audit/')).documents)
  const said = JSON.stringify(lines)
  t.equal((await store.list('audit/')).documents.length, 4)
  for (const secret of [TOKEN, token.slice(-43), String(child.json.token).slice(-43), ...digests]) {
    t.notOk(records.includes(secret))
    t.notOk(said.includes(secret), 'nor does the log')
  }
  t.match(records, /"label":"child"/)
})
