/** `/v1/audit`: every change, oldest first, from a moment on, and only to those who may read it. */

import t, { type Test } from 'tap'
import { type ApiClient, apiFor } from './api-client.ts'
import { scopedTokenFor } from './pools-and-tokens.ts'

const POOL = { cpuMillis: 1_000, memoryBytes: 1_000, diskBytes: 1_000, host: 'h1' }

interface AuditView {
  readonly id: string
  readonly at: string
  readonly key: string
  readonly action: string
  readonly pool?: string
}

async function bedFor(t: Test) {
  const clock = { now: Date.parse('2026-03-01T12:00:00Z') }
  const client = await apiFor(t, { now: () => new Date(clock.now) })
  return { ...client, clock }
}

async function auditOf({ call }: Pick<ApiClient, 'call'>, query = '', token?: string) {
  const { json } = await call('GET', `/v1/audit${query}`, token === undefined ? {} : { token })
  return json as unknown as { readonly audit: readonly AuditView[]; readonly next?: string }
}

async function keysOf(client: Pick<ApiClient, 'call'>, query = '', token?: string) {
  return (await auditOf(client, query, token)).audit.map(({ action, key }) => `${action} ${key}`)
}

t.test('tells who changed what, from what to what', async (t) => {
  const client = await bedFor(t)
  await client.call('PUT', '/v1/pools/web', { body: POOL, headers: { 'x-request-id': 'the-first' } })
  client.clock.now += 1
  await client.call('PUT', '/v1/pools/web', { body: { ...POOL, cpuMillis: 2_000 } })
  client.clock.now += 1
  await client.call('DELETE', '/v1/pools/web')
  const { audit } = await auditOf(client)
  t.match(audit, [
    {
      action: 'create',
      key: 'pool/web',
      pool: 'web',
      who: 'bootstrap',
      requestId: 'the-first',
      at: '2026-03-01T12:00:00.000Z',
      after: { cpuMillis: 1_000 },
    },
    { action: 'update', before: { cpuMillis: 1_000 }, after: { cpuMillis: 2_000 } },
    { action: 'delete', before: { cpuMillis: 2_000 } },
  ])
  t.notOk('before' in (audit[0] ?? {}))
  t.notOk('after' in (audit[2] ?? {}))
})

t.test('a reader of one pool is shown what belongs to it', async (t) => {
  const client = await bedFor(t)
  for (const pool of ['web', 'db']) await client.call('PUT', `/v1/pools/${pool}`, { body: POOL })
  const { id, token } = await scopedTokenFor(client, [{ pool: 'db', verbs: ['read'] }])
  t.strictSame((await keysOf(client, '', token)).toSorted(), ['create pool/db', `create token/${id}`])
  t.strictSame(await keysOf(client, '?pool=web', token), [])
  t.strictSame(await keysOf(client, '?pool=web'), ['create pool/web'])
  const { token: writer } = await scopedTokenFor(client, [{ pool: 'db', verbs: ['write'] }])
  t.strictSame(await keysOf(client, '', writer), [])
})

t.test('begins at a moment', async (t) => {
  const client = await bedFor(t)
  for (let minute = 0; minute < 4; minute += 1) {
    await client.call('PUT', `/v1/pools/p${minute}`, { body: POOL })
    client.clock.now += 60_000
  }
  const since = (moment: string) => keysOf(client, `?since=${moment}`)
  t.strictSame(await since('2026-03-01T12:02:00Z'), ['create pool/p2', 'create pool/p3'])
  t.strictSame(await since('2026-03-01T12:02:00.001Z'), ['create pool/p3'])
  t.equal((await since('2020-01-01T00:00:00Z')).length, 4)
  t.equal((await since('0001-01-01T00:00:00Z')).length, 4)
  t.strictSame(await since('9999-01-01T00:00:00Z'), [])
})

t.test('goes on page by page, from a moment as well', async (t) => {
  const client = await bedFor(t)
  for (let n = 0; n < 5; n += 1) {
    await client.call('PUT', `/v1/pools/p${n}`, { body: POOL })
    client.clock.now += 1_000
  }
  const seen: string[] = []
  let after = ''
  for (let pages = 0; pages < 5; pages += 1) {
    const { audit, next } = await auditOf(client, `?since=2026-03-01T12:00:01Z&limit=2${after}`)
    if (pages < 2) t.equal(audit.length, 2, 'pages begin at the moment')
    seen.push(...audit.map(({ key }) => key))
    if (next === undefined) break
    after = `&after=${next}`
  }
  t.strictSame(seen, ['pool/p1', 'pool/p2', 'pool/p3', 'pool/p4'])
})

t.test('a page that is asked for from before the moment shows nothing earlier', async (t) => {
  const client = await bedFor(t)
  for (let n = 0; n < 3; n += 1) {
    await client.call('PUT', `/v1/pools/p${n}`, { body: POOL })
    client.clock.now += 1_000
  }
  t.strictSame(await keysOf(client, '?since=2026-03-01T12:00:02Z&after=0'), ['create pool/p2'])
})

t.test('refuses what it cannot read', async (t) => {
  const { call } = await bedFor(t)
  for (const query of [
    'since=yesterday',
    'since=',
    'pool=A',
    'pool=../x',
    'limit=0',
    'who=me',
    'since=2026-13-01T00:00:00Z',
  ])
    t.match(
      await call('GET', `/v1/audit?${query}`),
      { status: 400, json: { code: 'api_request_malformed' } },
      query,
    )
  t.match(await call('POST', '/v1/audit', { body: {} }), { status: 405, headers: { allow: 'GET, HEAD' } })
  t.match(await call('GET', '/v1/audit', { token: '' }), { status: 401 })
})
