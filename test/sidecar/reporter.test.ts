/** Reports arrive in order, the newest at last, however long the reader is away. */

import { setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Reporter } from '../../sidecar/reporter.ts'
import { until } from '../helpers/until.ts'
import { listLog } from './vms.ts'

function reporterFor(t: Test, { retryMs = 5 }: { retryMs?: number } = {}) {
  const tried: { value: number; at: number }[] = []
  const arrived: number[] = []
  const state = { isDown: false }
  const { log, lines } = listLog()
  const report = async (value: number) => {
    tried.push({ value, at: performance.now() })
    await setImmediate()
    if (state.isDown) throw new Error('store is away')
    arrived.push(value)
  }
  const reporter = new Reporter({ report, log, about: { vm: 'one' } }, { retryMs, maxRetryMs: retryMs * 4 })
  t.teardown(() => reporter[Symbol.asyncDispose]())
  return { reporter, tried, arrived, state, lines }
}

t.test('sends again until it arrives, the newest only, and then no more', async (t) => {
  const { reporter, tried, arrived, state, lines } = reporterFor(t)
  state.isDown = true
  reporter.publish(1)
  await reporter.attempted()
  reporter.publish(2)
  reporter.publish(3)
  await until(() => tried.at(-1)?.value === 3, 'it was tried')
  state.isDown = false
  await reporter.drained()
  t.same(arrived, [3])
  t.notOk(tried.some(({ value }) => value === 2))
  const count = tried.length
  const beside = reporterFor(t)
  beside.state.isDown = true
  beside.reporter.publish(1)
  await until(() => beside.tried.length >= 4, 'one beside it was sent again and again')
  t.equal(tried.length, count)
  t.match(lines[0], { level: 'warn', vm: 'one', err: { message: 'store is away' } })
})

t.test('waits longer and longer, up to a limit', async (t) => {
  const { reporter, tried, state } = reporterFor(t, { retryMs: 20 })
  state.isDown = true
  reporter.publish(1)
  // Eleven pauses without a limit would be 41 s.
  await until(() => tried.length === 12, 'it was tried twelve times')
  const pauses = tried.slice(1).map(({ at }, index) => at - (tried[index]?.at ?? 0))
  const [first = 0, second = 0, ...others] = pauses
  t.ok(first >= 19 && second >= 39 && Math.min(...others) >= 79, pauses.join(' '))
})

t.test('takes up a report at whatever moment it comes', async (t) => {
  const { log } = listLog()
  const arrived: number[] = []
  const report = async (value: number) => void arrived.push(value)
  const reporter = new Reporter({ report, log, about: {} }, { retryMs: 5, maxRetryMs: 5 })
  for (let turns = 0; turns < 20; turns += 1) {
    reporter.publish(-1)
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve()
    reporter.publish(turns)
    await until(() => arrived.at(-1) === turns, 'it arrived')
  }
  t.equal(arrived.filter((value) => value >= 0).length, 20, 'each once')
})

t.test('tries once more at its end, without a pause', async (t) => {
  const { reporter, tried, state, arrived } = reporterFor(t, { retryMs: 60_000 })
  state.isDown = true
  reporter.publish(1)
  await reporter.attempted()
  state.isDown = false
  await reporter[Symbol.asyncDispose]()
  t.equal(tried.length, 2)
  t.same(arrived, [1])
})

t.test('ends though nobody takes the report', async (t) => {
  const { reporter, tried, state } = reporterFor(t, { retryMs: 60_000 })
  state.isDown = true
  reporter.publish(1)
  await reporter.attempted()
  await reporter[Symbol.asyncDispose]()
  t.equal(tried.length, 2)
})
