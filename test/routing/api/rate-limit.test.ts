/** Rate limits: so many requests for each token in ten seconds, whoever asks and however. */

import t from 'tap'
import { MAX_TOKENS, TokenCounts } from '../../../routing/api/rate-limit.ts'
import { apiFor, tokenFor } from './api-client.ts'

const READ = [{ pool: '*', verbs: ['read'] }]
const PER_SECOND = 3
const BURST = 10 * PER_SECOND

t.test('lets a burst of ten seconds through, then says when to come back', async (t) => {
  const client = await apiFor(t, { ratePerSecond: PER_SECOND })
  const { call } = client
  const { token } = await tokenFor(client, READ)
  for (let n = 1; n <= BURST; n += 1)
    t.equal((await call('GET', '/v1/whoami', { token })).status, 200, `${n}`)
  for (const [method, path] of [
    ['GET', '/v1/whoami'],
    ['GET', '/nothing'],
    ['PATCH', '/v1/pools'],
    ['POST', '/v1/tokens'],
  ] as const) {
    const answer = await call(method, path, { token })
    t.match(answer, { status: 429, json: { code: 'api_rate_limited', detail: /30 requests in 10 seconds/ } })
    const seconds = Number(answer.headers['retry-after'])
    t.ok(Number.isInteger(seconds) && seconds >= 1 && seconds <= 10, `${method} ${path}: ${seconds}`)
  }
})

t.test('counts for each token alone, and not at the open pages', async (t) => {
  const client = await apiFor(t, { ratePerSecond: PER_SECOND })
  const { call } = client
  const [one, other] = [await tokenFor(client, READ), await tokenFor(client, READ)]
  for (let n = 0; n <= BURST; n += 1) await call('GET', '/v1/whoami', { token: one.token })
  t.equal((await call('GET', '/v1/whoami', { token: one.token })).status, 429)
  t.equal((await call('GET', '/v1/whoami', { token: other.token })).status, 200)
  t.equal((await call('GET', '/v1/whoami')).status, 200)
  for (const path of ['/', '/llms.txt', '/v1/openapi.json']) {
    for (let n = 0; n <= BURST; n += 1) {
      const { status } = await call('GET', path, { token: one.token })
      if (status !== 200) t.fail(`${path} answered ${status}`)
    }
  }
})

t.test('counts nothing that had no valid token', async (t) => {
  const { call } = await apiFor(t, { ratePerSecond: PER_SECOND })
  for (let n = 0; n <= 2 * BURST; n += 1) {
    const { status } = await call('GET', '/v1/whoami', { token: 'wrong' })
    if (status !== 401) t.fail(`answered ${status}`)
  }
  t.equal((await call('GET', '/v1/whoami')).status, 200)
})

t.test('forgets what was longer ago than ten seconds', async (t) => {
  const { call } = await apiFor(t, { ratePerSecond: PER_SECOND })
  const real = Date.now
  t.teardown(() => {
    Date.now = real
  })
  for (let n = 0; n <= BURST; n += 1) await call('GET', '/v1/whoami')
  t.equal((await call('GET', '/v1/whoami')).status, 429)
  Date.now = () => real() + 10_001
  t.equal((await call('GET', '/v1/whoami')).status, 200)
})

t.test('keeps counts for so many tokens, and forgets the longest unused first', (t) => {
  const counts = new TokenCounts()
  const count = (token: string) => {
    let current = 0
    counts.incr(token, (_error, result) => {
      current = result?.current ?? 0
    })
    return current
  }
  for (let n = 0; n < MAX_TOKENS; n += 1) count(`t${n}`)
  t.equal(count('t0'), 2, 'used again, so it stays')
  t.equal(count('new'), 1)
  t.equal(count('t0'), 3)
  t.equal(count('t1'), 1, 'it was the longest unused')
  t.equal(count('new'), 2)
  t.end()
})
