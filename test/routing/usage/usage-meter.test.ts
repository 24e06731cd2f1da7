/** What pools use is counted once: across lost answers, an absent store, turns of the hour and restarts. */

import t, { type Test } from 'tap'
import { listRecords, USAGES } from '../../../routing/records/record-kinds.ts'
import type { UsageCounts, UsageRecord } from '../../../routing/records/records.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { startUsageMeter } from '../../../routing/usage/usage-meter.ts'
import { sumUsage } from '../../../routing/usage/usage-report.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { until } from '../../helpers/until.ts'
import { flakyStoreOf } from '../feed/flaky-store.ts'

const HOUR_MS = 3_600_000
const NOON = Date.parse('2026-03-01T12:00:00Z')
const NEVER_MS = 1_000_000
const NOTHING: UsageCounts = {
  cpuSeconds: 0,
  memoryByteSeconds: 0,
  diskBytes: 0,
  replicatedBytes: 0,
  egressBytes: 0,
  requests: 0,
}

async function bedFor(t: Test) {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  return { store, flaky: flakyStoreOf(store), log: createListLog(), clock: { now: NOON, reads: 0 } }
}

type Bed = Awaited<ReturnType<typeof bedFor>>

/** Flushes only at disposal unless told otherwise; each flush reads the clock. */
function meterFor(
  { flaky, log, clock }: Bed,
  { source = 'edge-1', flushMs = NEVER_MS, endLimitMs = 10_000 } = {},
) {
  const now = () => {
    clock.reads += 1
    return clock.now
  }
  return startUsageMeter({ store: flaky, log }, { source, flushMs, endLimitMs, now })
}

async function readAll(store: Store): Promise<readonly UsageRecord[]> {
  return (await Array.fromAsync(listRecords(store, USAGES))).map(({ record }) => record)
}

t.test('adds sums, and keeps the largest of what is used at once', async (t) => {
  const bed = await bedFor(t)
  const meter = await meterFor(bed)
  meter.add('web', { cpuSeconds: 1.5, memoryByteSeconds: 10, diskBytes: 700, replicatedBytes: 5 })
  meter.add('web', { cpuSeconds: 0.5, diskBytes: 600, requests: 1, egressBytes: 99 })
  meter.add('db', { requests: 2 })
  await meter[Symbol.asyncDispose]()
  t.strictSame(await readAll(bed.store), [
    { pool: 'db', hour: '2026-03-01T12:00:00.000Z', source: 'edge-1', counts: { ...NOTHING, requests: 2 } },
    {
      pool: 'web',
      hour: '2026-03-01T12:00:00.000Z',
      source: 'edge-1',
      counts: {
        cpuSeconds: 2,
        memoryByteSeconds: 10,
        diskBytes: 700,
        replicatedBytes: 5,
        egressBytes: 99,
        requests: 1,
      },
    },
  ])
})

t.test('does not keep the object that it is given', async (t) => {
  const bed = await bedFor(t)
  const meter = await meterFor(bed)
  const counts = { requests: 1 }
  meter.add('web', counts)
  counts.requests = 10
  meter.add('web', counts)
  await meter[Symbol.asyncDispose]()
  t.match(await readAll(bed.store), [{ counts: { requests: 11 } }])
})

t.test('takes nothing off for counters that went backwards or are no numbers', async (t) => {
  const bed = await bedFor(t)
  const meter = await meterFor(bed)
  meter.add('web', { cpuSeconds: 3 })
  for (const cpuSeconds of [-5, Number.NaN, Number.POSITIVE_INFINITY]) meter.add('web', { cpuSeconds })
  await meter[Symbol.asyncDispose]()
  t.match(await readAll(bed.store), [{ counts: { cpuSeconds: 3 } }])
})

t.test('writes what changed as it goes, and nothing when nothing did', async (t) => {
  const bed = await bedFor(t)
  const meter = await meterFor(bed, { flushMs: 5 })
  t.teardown(() => meter[Symbol.asyncDispose]())
  meter.add('web', { requests: 1 })
  meter.add('db', { requests: 1 })
  await until(() => bed.flaky.sizes.length === 1, 'the first flush')
  meter.add('db', { requests: 1 })
  await until(() => bed.flaky.sizes.length === 2, 'the second flush')
  const { reads } = bed.clock
  await until(() => bed.clock.reads >= reads + 3, 'three times to flush')
  t.strictSame(bed.flaky.sizes, [2, 1])
  t.match(await readAll(bed.store), [{ counts: { requests: 2 } }, { counts: { requests: 1 } }])
})

t.test('a flush whose answer is lost is repeated and counts once', async (t) => {
  const bed = await bedFor(t)
  const meter = await meterFor(bed, { flushMs: 5 })
  bed.flaky.mode = 'lost'
  meter.add('web', { requests: 3, cpuSeconds: 1 })
  await until(() => bed.flaky.sizes.length >= 3, 'three attempts')
  bed.flaky.mode = 'sound'
  meter.add('web', { requests: 1 })
  await meter[Symbol.asyncDispose]()
  t.match(await readAll(bed.store), [{ counts: { requests: 4, cpuSeconds: 1 } }])
})

t.test('what is added while a flush is under way is written by the next one', async (t) => {
  const bed = await bedFor(t)
  const meter = await meterFor(bed, { flushMs: 5 })
  const { promise, resolve } = Promise.withResolvers<void>()
  bed.flaky.mode = promise
  meter.add('web', { requests: 1 })
  await until(() => bed.flaky.sizes.length === 1, 'a flush under way')
  meter.add('web', { requests: 1 })
  bed.flaky.mode = 'sound'
  resolve()
  await meter[Symbol.asyncDispose]()
  t.match(await readAll(bed.store), [{ counts: { requests: 2 } }])
})

t.test('the hour turns in UTC', async (t) => {
  const bed = await bedFor(t)
  const meter = await meterFor(bed)
  bed.clock.now = NOON + HOUR_MS - 1
  meter.add('web', { requests: 1 })
  bed.clock.now = NOON + HOUR_MS
  meter.add('web', { requests: 2 })
  await meter[Symbol.asyncDispose]()
  t.match(await readAll(bed.store), [
    { hour: '2026-03-01T12:00:00.000Z', counts: { requests: 1 } },
    { hour: '2026-03-01T13:00:00.000Z', counts: { requests: 2 } },
  ])
})

t.test('a store that is away while hours turn gets all of them when it is back', async (t) => {
  const bed = await bedFor(t)
  const meter = await meterFor(bed, { flushMs: 5 })
  bed.flaky.mode = 'away'
  for (const hour of [0, 1, 2]) {
    bed.clock.now = NOON + hour * HOUR_MS
    meter.add('web', { requests: hour + 1 })
    const tried = bed.flaky.sizes.length
    await until(() => bed.flaky.sizes.length > tried + 1, 'two more attempts')
  }
  t.strictSame(await readAll(bed.store), [])
  bed.flaky.mode = 'sound'
  await meter[Symbol.asyncDispose]()
  t.strictSame(
    (await readAll(bed.store)).map(({ counts }) => counts.requests),
    [1, 2, 3],
  )
})

t.test('an hour that turns during a flush that fails is not lost', async (t) => {
  const bed = await bedFor(t)
  const meter = await meterFor(bed, { flushMs: 5 })
  const { promise, reject } = Promise.withResolvers<void>()
  meter.add('web', { requests: 1 })
  bed.flaky.mode = promise
  await until(() => bed.flaky.sizes.length === 1, 'a flush under way')
  bed.clock.now = NOON + HOUR_MS
  meter.add('web', { requests: 5 })
  bed.flaky.mode = 'sound'
  reject(new Error('gone in the middle'))
  await meter[Symbol.asyncDispose]()
  t.strictSame(
    (await readAll(bed.store)).map(({ counts }) => counts.requests),
    [1, 5],
  )
})

t.test('a clock that is set back does not overwrite what was counted before', async (t) => {
  const bed = await bedFor(t)
  const meter = await meterFor(bed, { flushMs: 5 })
  meter.add('web', { requests: 1 })
  await until(() => bed.flaky.sizes.length === 1, 'the first flush')
  bed.clock.now = NOON + HOUR_MS
  meter.add('web', { requests: 2 })
  await until(() => bed.flaky.sizes.length === 2, 'the flush of the next hour')
  bed.clock.now = NOON
  meter.add('web', { requests: 4 })
  await meter[Symbol.asyncDispose]()
  t.match(await readAll(bed.store), [
    { hour: '2026-03-01T12:00:00.000Z', source: 'edge-1', counts: { requests: 1 } },
    { hour: '2026-03-01T12:00:00.000Z', source: 'edge-1-1', counts: { requests: 4 } },
    { hour: '2026-03-01T13:00:00.000Z', source: 'edge-1', counts: { requests: 2 } },
  ])
})

t.test('a restart in the middle of an hour is another source, and the sum is right', async (t) => {
  const bed = await bedFor(t)
  const first = await meterFor(bed, { source: 'edge-a1' })
  first.add('web', { requests: 10, cpuSeconds: 0.1, diskBytes: 900 })
  await first[Symbol.asyncDispose]()
  const second = await meterFor(bed, { source: 'edge-a2' })
  second.add('web', { requests: 5, cpuSeconds: 0.2, diskBytes: 800 })
  await second[Symbol.asyncDispose]()
  const span = { from: new Date(NOON), to: new Date(NOON + HOUR_MS) }
  const { total, steps } = await sumUsage(bed, { pool: 'web', ...span, step: 'hour' })
  t.match(total, { requests: 15, diskBytes: 900 })
  t.ok(Math.abs(total.cpuSeconds - 0.3) < 1e-12)
  t.equal(steps.length, 1)
})

t.test('many pools go in commits of at most a thousand, and one that fails is tried again', async (t) => {
  const bed = await bedFor(t)
  const meter = await meterFor(bed, { flushMs: 5 })
  bed.flaky.mode = 'away'
  for (let n = 0; n < 2_500; n += 1) meter.add(`pool-${n}`, { requests: n })
  await until(() => bed.flaky.sizes.length > 0, 'an attempt')
  bed.flaky.mode = 'sound'
  bed.flaky.sizes.length = 0
  await meter[Symbol.asyncDispose]()
  t.strictSame(bed.flaky.sizes, [1_000, 1_000, 500])
  t.equal((await readAll(bed.store)).length, 2_500)
})

t.test('what can be no record is left out and does not hold up the rest', async (t) => {
  const bed = await bedFor(t)
  const meter = await meterFor(bed)
  meter.add('no/such pool', { requests: 1 })
  meter.add('web', { requests: 1 })
  await meter[Symbol.asyncDispose]()
  t.strictSame(
    (await readAll(bed.store)).map(({ pool }) => pool),
    ['web'],
  )
  t.match(bed.log.lines, [{ level: 'error', pool: 'no/such pool' }])
})

t.test('a store that stays away to the end costs the counts, and that is logged', async (t) => {
  const bed = await bedFor(t)
  const meter = await meterFor(bed, { endLimitMs: 1_000 })
  bed.flaky.mode = 'away'
  meter.add('web', { requests: 1 })
  await meter[Symbol.asyncDispose]()
  t.ok(bed.flaky.sizes.length >= 2, 'more than one attempt')
  t.match(bed.log.lines.at(-1), { level: 'error', records: 1, oldest: '2026-03-01T12:00:00.000Z' })
})

t.test('memory is bounded while the store is away: the oldest hours go first', async (t) => {
  const bed = await bedFor(t)
  bed.flaky.mode = 'away'
  const meter = await meterFor(bed)
  const pools = 50_000
  for (let hour = 0; hour <= 5; hour += 1) {
    bed.clock.now = NOON + hour * HOUR_MS
    for (let n = 0; n < pools; n += 1) meter.add(`p${n}`, { requests: 1 })
  }
  t.match(bed.log.lines, [{ level: 'error', records: pools, oldest: '2026-03-01T12:00:00.000Z' }])
  bed.flaky.mode = 'sound'
  await meter[Symbol.asyncDispose]()
  const { documents } = await bed.store.list('usage/p7/')
  t.equal(documents.length, 5)
})

t.test('a store that is closed is not waited for', async (t) => {
  const store = await startMemoryStore()
  const log = createListLog()
  const meter = await startUsageMeter({ store, log }, { source: 'e1', endLimitMs: 60_000 })
  meter.add('web', { requests: 1 })
  await store[Symbol.asyncDispose]()
  await meter[Symbol.asyncDispose]()
  t.match(log.lines.at(-1), { level: 'error', records: 1 })
})
