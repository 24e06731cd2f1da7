/** `/v1/pools/{pool}/usage`: this month unless asked for another span, by hours or days, to readers of the pool. */

import t, { type Test } from 'tap'
import { apiFor } from './api-client.ts'
import { scopedTokenFor } from './pools-and-tokens.ts'

const NOTHING = {
  cpuSeconds: 0,
  memoryByteSeconds: 0,
  diskBytes: 0,
  replicatedBytes: 0,
  egressBytes: 0,
  requests: 0,
}
const POOL = { cpuMillis: 1_000, memoryBytes: 1, diskBytes: 1, host: 'h1' }

async function bedFor(t: Test, now = '2026-03-15T12:00:00Z') {
  const client = await apiFor(t, { now: () => new Date(now) })
  await client.call('PUT', '/v1/pools/web', { body: POOL })
  const use = async (hour: string, counts: object, source = 'e1', pool = 'web') => {
    await client.store.put(`usage/${pool}/${hour}/${source}`, {
      pool,
      hour,
      source,
      counts: { ...NOTHING, ...counts },
    })
  }
  const get = (query = '', token?: string) =>
    client.call('GET', `/v1/pools/web/usage${query}`, token === undefined ? {} : { token })
  return { ...client, use, get }
}

t.test('tells this month by hours', async (t) => {
  const { use, get } = await bedFor(t)
  await use('2026-02-28T23:00:00.000Z', { requests: 1_000 })
  await use('2026-03-01T00:00:00.000Z', { requests: 1, diskBytes: 7 })
  await use('2026-03-15T11:00:00.000Z', { requests: 2, diskBytes: 5 })
  await use('2026-03-15T11:00:00.000Z', { requests: 4, egressBytes: 9 }, 'e2')
  await use('2026-04-01T00:00:00.000Z', { requests: 1_000 })
  const { status, json } = await get()
  t.equal(status, 200)
  t.strictSame(json, {
    pool: 'web',
    from: '2026-03-01T00:00:00.000Z',
    to: '2026-04-01T00:00:00.000Z',
    total: { ...NOTHING, requests: 7, egressBytes: 9, diskBytes: 7 },
    hours: [
      { hour: '2026-03-01T00:00:00.000Z', ...NOTHING, requests: 1, diskBytes: 7 },
      { hour: '2026-03-15T11:00:00.000Z', ...NOTHING, requests: 6, egressBytes: 9, diskBytes: 5 },
    ],
  })
})

t.test('the month of December ends in the next year', async (t) => {
  const { get } = await bedFor(t, '2026-12-31T23:59:59Z')
  t.match((await get()).json, { from: '2026-12-01T00:00:00.000Z', to: '2027-01-01T00:00:00.000Z' })
})

t.test('tells 31 days by hours, and more by days', async (t) => {
  const { use, get } = await bedFor(t)
  await use('2026-01-05T03:00:00.000Z', { requests: 1 })
  await use('2026-01-05T04:00:00.000Z', { requests: 2 })
  await use('2026-01-07T04:00:00.000Z', { requests: 4 })
  const short = (await get('?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z')).json
  t.match(short, { total: { requests: 7 }, hours: [{ requests: 1 }, { requests: 2 }, { requests: 4 }] })
  t.notOk('days' in short)
  const long = (await get('?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:01Z')).json
  t.match(long, {
    total: { requests: 7 },
    days: [
      { day: '2026-01-05', requests: 3 },
      { day: '2026-01-07', requests: 4 },
    ],
  })
  t.notOk('hours' in long)
})

t.test('a span that is none, or too long, is refused with the field at fault', async (t) => {
  const { get } = await bedFor(t)
  const cases = [
    ['?from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z', '/from'],
    ['?from=2026-03-01T00:00:00Z&to=2026-03-01T00:00:00Z', '/from'],
    ['?from=2026-05-01T00:00:00Z', '/from'],
    ['?to=2026-02-01T00:00:00Z', '/to'],
    ['?from=2025-01-01T00:00:00Z&to=2026-03-01T00:00:00Z', '/to'],
    ['?from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z', '/to'],
  ]
  for (const [query = '', field] of cases)
    t.match(await get(query), { status: 400, json: { code: 'api_request_malformed', field } }, query)
  t.match(await get('?from=2025-01-25T00:00:00Z&to=2026-03-01T00:00:00Z'), { status: 200 }, '400 days')
})

t.test('refuses moments that it cannot read, and parameters that it does not know', async (t) => {
  const { get } = await bedFor(t)
  for (const query of [
    'from=now',
    'from=2026-03-01',
    'to=2026-03-01T00:00:00%2B01:00',
    'from=',
    'form=1',
    'to=1e300',
  ])
    t.match(await get(`?${query}`), { status: 400, json: { code: 'api_request_malformed' } }, query)
})

t.test('is for readers of the pool; for others there is no such pool', async (t) => {
  const bed = await bedFor(t)
  const { token } = await scopedTokenFor(bed, [{ pool: 'web', verbs: ['read'] }])
  const { token: other } = await scopedTokenFor(bed, [{ pool: 'db', verbs: ['read', 'write', 'admin'] }])
  t.match(await bed.get('', token), { status: 200 })
  t.match(await bed.get('', other), { status: 404, json: { code: 'api_not_found' } })
})

t.test('what a pool used stays readable when it was given back', async (t) => {
  const { call, use, get } = await bedFor(t)
  await use('2026-03-01T00:00:00.000Z', { requests: 1 })
  t.match(await call('DELETE', '/v1/pools/web'), { status: 204 })
  t.match(await get(), { status: 200, json: { total: { requests: 1 } } })
  t.match(await get('?from=2025-03-01T00:00:00Z&to=2025-03-02T00:00:00Z'), { status: 404 })
  t.match(await call('GET', '/v1/pools/never/usage'), { status: 404 })
})

t.test('a pool that used nothing yet has sums of 0', async (t) => {
  const { get } = await bedFor(t)
  t.match(await get(), { status: 200, json: { total: NOTHING, hours: [] } })
})

t.test('names that no pool can have lead nowhere, and nothing can be written', async (t) => {
  const { call } = await bedFor(t)
  for (const name of ['WEB', 'web%2f2026', '%00', '..', '__proto__', 'x'.repeat(64)])
    t.match(await call('GET', `/v1/pools/${name}/usage`), { status: 404 }, name)
  for (const method of ['PUT', 'POST', 'DELETE', 'PATCH'])
    t.match(await call(method, '/v1/pools/web/usage', { body: {} }), { status: 405 }, method)
})
