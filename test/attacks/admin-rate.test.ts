/** Attacks on the admin API's rate limit: one token stays one token, however its requests arrive. */

import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import type { Store } from '../../routing/store/store.ts'
import { type ApiClient, apiFor, tokenFor } from '../routing/api/api-client.ts'
import { storeWith } from '../routing/api/watched-store.ts'

const PER_SECOND = 2
const BURST = 10 * PER_SECOND

async function limitedFor(t: Test): Promise<ApiClient & { readonly token: string }> {
  const client = await apiFor(t, { ratePerSecond: PER_SECOND })
  const { token } = await tokenFor(client, [{ pool: '*', verbs: ['read', 'admin'] }])
  return { ...client, token }
}

const ADDRESSES = [
  'x-forwarded-for',
  'x-real-ip',
  'forwarded',
  'true-client-ip',
  'cf-connecting-ip',
  'x-client-ip',
  'x-forwarded-host',
  'user-agent',
]

interface Attempt {
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly scheme?: string
}

const pick = (choices: readonly string[], index: number) => choices[index % choices.length] ?? ''

const ATTEMPTS: Readonly<Record<string, (index: number) => Attempt>> = {
  'another address in each request': (index) => ({
    headers: Object.fromEntries(ADDRESSES.map((field) => [field, `203.0.113.${index}`])),
  }),
  'another query': (index) => ({ path: `/v1/pools?after=${index}` }),
  'another path': (index) => ({ path: `/nothing/${index}` }),
  'another method': (index) => ({ method: pick(['GET', 'HEAD', 'OPTIONS', 'PATCH', 'DELETE'], index) }),
  'another spelling of the scheme': (index) => ({
    scheme: pick(['bearer', 'BEARER', 'Bearer ', 'bEaReR  '], index),
  }),
  'another request id': (index) => ({ headers: { 'x-request-id': `id-${index}` } }),
}

for (const [name, attempt] of Object.entries(ATTEMPTS)) {
  t.test(`${name} makes no other caller`, async (t) => {
    const { call, token } = await limitedFor(t)
    const statuses = []
    for (let index = 0; index < BURST + 10; index += 1) {
      const { method = 'GET', path = '/v1/pools', headers, scheme = 'Bearer' } = attempt(index)
      const authorization = `${scheme} ${token}`
      statuses.push((await call(method, path, { token: '', headers: { ...headers, authorization } })).status)
    }
    t.strictSame(
      statuses.slice(BURST),
      Array.from({ length: 10 }, () => 429),
    )
    t.notOk(statuses.slice(0, BURST).includes(429))
  })
}

t.test('many connections at once are one caller', async (t) => {
  const { call, token } = await limitedFor(t)
  const answers = await Promise.all(
    Array.from({ length: 3 * BURST }, () => call('GET', '/v1/pools', { token })),
  )
  t.equal(answers.filter(({ status }) => status === 200).length, BURST)
  t.equal(answers.filter(({ status }) => status === 429).length, 2 * BURST)
})

t.test('requests in one connection without waiting are one caller', async (t) => {
  const { api, token } = await limitedFor(t)
  const connection = api.connect()
  const head = `GET /v1/pools HTTP/1.1\r\nhost: admin.example.test\r\nauthorization: Bearer ${token}\r\n`
  connection.write(`${head}\r\n`.repeat(2 * BURST))
  connection.write(`${head}connection: close\r\n\r\n`)
  const answered = await text(connection)
  t.equal(answered.match(/HTTP\/1\.1 200 /g)?.length, BURST)
  t.equal(answered.match(/HTTP\/1\.1 429 /g)?.length, BURST + 1)
})

t.test('what is refused for its rate changes nothing, and is not even read', async (t) => {
  const { call, store, token } = await limitedFor(t)
  for (let n = 0; n < BURST; n += 1) await call('GET', '/v1/pools', { token })
  const { revision } = await store.list('')
  for (const body of [{ label: '', scopes: [{ pool: '*', verbs: ['read'] }] }, '{', 'x'.repeat(70_000)]) {
    t.equal(
      (await call('POST', '/v1/tokens', { token, body, headers: { 'idempotency-key': 'a' } })).status,
      429,
    )
  }
  t.equal((await store.list('')).revision, revision)
})

const guessOf = (index: number) => `lf_${String(index).padStart(12, 'x')}_${'x'.repeat(43)}`

t.test('who guesses tokens is limited by address, and nobody else is', async (t) => {
  const inner = await startMemoryStore()
  t.teardown(() => inner[Symbol.asyncDispose]())
  let reads = 0
  const get: Store['get'] = (key) => {
    reads += 1
    return inner.get(key)
  }
  const client = await apiFor(t, { store: storeWith(inner, { get }), ratePerSecond: PER_SECOND })
  const { call } = client
  const { token } = await tokenFor(client, [{ pool: '*', verbs: ['read'] }])
  const ask = (bearer: string, address: string) =>
    call('GET', '/v1/whoami', { token: bearer, headers: { 'x-forwarded-for': address } })
  t.equal((await ask(token, '192.0.2.1')).status, 200)
  reads = 0
  const statuses = []
  for (let index = 0; index < 3 * BURST; index += 1) {
    // What is in front of the edge's own proxy's word, anybody may have written.
    statuses.push((await ask(guessOf(index), `203.0.113.${index}, 192.0.2.1, 10.0.0.1`)).status)
  }
  t.equal(statuses.filter((status) => status === 401).length, reads)
  t.ok(reads >= BURST && reads < 2 * BURST, `${reads} look-ups`)
  t.equal(statuses.at(-1), 429)
  const refused = await ask(guessOf(1_000), '192.0.2.1')
  t.match(refused, { json: { code: 'api_rate_limited' }, headers: { 'retry-after': '1' } })
  t.equal((await ask(token, '192.0.2.1')).status, 200, 'who is known is let in from the same address')
  t.equal((await ask(guessOf(1_000), '192.0.2.2')).status, 401, 'other addresses are none of its business')
})
