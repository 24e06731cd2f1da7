/** Waiting for a promise for no longer than its owner likes. */

import t from 'tap'
import { withinTime } from '../../lib/within-time.ts'

const NEVER = () => new Promise<never>(() => {})
const { signal } = new AbortController()

t.test('gives what the promise gives, or its error', async (t) => {
  t.equal(await withinTime(Promise.resolve(1), { timeoutMs: 1_000, signal }), 1)
  const failed = Promise.reject(new Error('no'))
  await t.rejects(withinTime(failed, { timeoutMs: 1_000, signal }), { message: 'no' })
})

t.test('ends when time runs out, and when the signal aborts', async (t) => {
  await t.rejects(withinTime(NEVER(), { timeoutMs: 5, signal }), { message: 'no answer within 5 ms' })
  const ending = new AbortController()
  const waiting = withinTime(NEVER(), { timeoutMs: 60_000, signal: ending.signal })
  ending.abort(new Error('the end'))
  await t.rejects(waiting, { message: 'the end' })
  await t.rejects(withinTime(NEVER(), { timeoutMs: 60_000, signal: ending.signal }), { message: 'the end' })
})

t.test('a promise that fails later harms nobody', async (t) => {
  const { promise, reject } = Promise.withResolvers<never>()
  await t.rejects(withinTime(promise, { timeoutMs: 1, signal }))
  reject(new Error('late'))
  await new Promise((resolve) => setImmediate(resolve))
})
