/** Looking up tokens: half a second's memory, and a limit for who guesses that stops nobody else. */

import t, { type Test } from 'tap'
import { digestOf } from '../../../lib/digest.ts'
import { TokenLookup } from '../../../routing/api/token-lookup.ts'
import { RoutingError } from '../../../routing/errors.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { until } from '../../helpers/until.ts'

const DIGEST = digestOf('secret')
const WRONG = digestOf('wrong')
/** Ten at once. */
const RATE = 1

async function bedFor(t: Test) {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const asked: string[] = []
  const get: Store['get'] = (key) => {
    asked.push(key)
    return store.get(key)
  }
  const { lines, ...log } = createListLog()
  const lookup = new TokenLookup({ store: { get }, log, ratePerSecond: RATE })
  const scopes = [{ pool: '*', verbs: ['read'] }]
  const made = { label: '', digest: DIGEST, scopes, createdAt: '2030-01-01T00:00:00Z', createdBy: 'x' }
  const put = (id: string) => store.put(`token/${id}`, { id, ...made })
  const guess = (count: number, address: string) =>
    Promise.allSettled(
      Array.from({ length: count }, (_unused, index) => lookup.find(`${address}-${index}`, WRONG, address)),
    )
  return { store, asked, lookup, put, guess, lines }
}

const isLimited = (error: unknown) => error instanceof RoutingError && error.code === 'api_rate_limited'

t.test('asks once for many requests at once, right or wrong', async (t) => {
  const { asked, lookup, put } = await bedFor(t)
  await put('a')
  const found = await Promise.all([
    ...Array.from({ length: 50 }, () => lookup.find('a', DIGEST, '')),
    ...Array.from({ length: 50 }, () => lookup.find('a', WRONG, '')),
    ...Array.from({ length: 50 }, () => lookup.find('none', DIGEST, '')),
  ])
  t.equal(found.filter((record) => record?.id === 'a').length, 50)
  t.strictSame(asked, ['token/a', 'token/none'])
})

t.test('notices within a second that a token came or went, and at once when it is told', async (t) => {
  const { store, lookup, put } = await bedFor(t)
  t.equal(await lookup.find('a', DIGEST), undefined)
  await put('a')
  await until(async () => (await lookup.find('a', DIGEST)) !== undefined, 'the token is found', 1_000)
  await store.delete('token/a')
  await until(async () => (await lookup.find('a', DIGEST)) === undefined, 'it is gone', 1_000)
  await put('a')
  lookup.forget()
  t.ok(await lookup.find('a', DIGEST))
  await store.delete('token/a')
  lookup.forget()
  t.equal(await lookup.find('a', DIGEST), undefined)
})

t.test('limits who guesses, by address, and lets it go on slowly', async (t) => {
  const { asked, lookup, guess, put } = await bedFor(t)
  const answers = await guess(300, '192.0.2.1')
  t.equal(asked.length, 10)
  const refused = answers.filter((answer) => answer.status === 'rejected')
  t.equal(refused.length, 290)
  t.ok(refused.every(({ reason }) => isLimited(reason)))
  await put('a')
  t.ok(await lookup.find('a', DIGEST, '192.0.2.2'), 'another address has a limit of its own')
  t.ok(await lookup.find('a', DIGEST, '192.0.2.1'), 'and what is known is told to all')
})

t.test('never slows down a caller that it knows, wherever others guess', async (t) => {
  const { store, lookup, guess, put, asked } = await bedFor(t)
  await put('a')
  t.ok(await lookup.find('a', DIGEST, '192.0.2.1'))
  await guess(20, '192.0.2.1')
  lookup.forget()
  t.ok(await lookup.find('a', DIGEST, '192.0.2.1'))
  lookup.forget()
  await t.rejects(lookup.find('a', WRONG, '192.0.2.1'), { code: 'api_rate_limited' }, 'only with its secret')
  await store.delete('token/a')
  t.equal(await lookup.find('a', DIGEST, '192.0.2.1'), undefined)
  lookup.forget()
  const { length } = asked
  await t.rejects(
    lookup.find('a', DIGEST, '192.0.2.1'),
    { code: 'api_rate_limited' },
    'nor when it was ended',
  )
  t.equal(asked.length, length)
})

t.test('takes a /64 for one address, and an IPv4 address for itself however it is written', async (t) => {
  for (const [one, same, other] of [
    ['2001:db8::1', '2001:db8:0:0:ffff::2', '2001:db8:0:1::1'],
    ['::1', '::ffff', '1::'],
    ['::ffff:192.0.2.1', '192.0.2.1', '::ffff:192.0.2.2'],
  ] as const) {
    const { lookup, guess } = await bedFor(t)
    await guess(10, one)
    await t.rejects(lookup.find('x', WRONG, same), { code: 'api_rate_limited' }, same)
    t.equal(await lookup.find('x', WRONG, other), undefined, other)
  }
})

t.test('counts no look-up that the store could not answer', async (t) => {
  const { lines: _lines, ...log } = createListLog()
  let isAway = true
  const get = () =>
    isAway ? Promise.reject(new RoutingError('store_unreachable')) : Promise.resolve(undefined)
  const lookup = new TokenLookup({ store: { get }, log, ratePerSecond: RATE })
  for (let index = 0; index < 20; index += 1) {
    await t.rejects(lookup.find('a', DIGEST), { code: 'store_unreachable' })
  }
  isAway = false
  t.equal(await lookup.find('a', DIGEST), undefined)
})

t.test('finds nothing in a record that breaks a rule, and says so in the log alone', async (t) => {
  const { store, lookup, lines } = await bedFor(t)
  await store.put('token/a', { id: 'a', digest: DIGEST })
  t.equal(await lookup.find('a', DIGEST), undefined)
  t.match(lines, [{ level: 'error', message: /cannot be read/ }])
})
