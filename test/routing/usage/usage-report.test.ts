/** Sums of usage: over sources, by hours and days, from one moment to another, without reading anything else. */

import t, { type Test } from 'tap'
import type { UsageCounts } from '../../../routing/records/records.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { sumUsage } from '../../../routing/usage/usage-report.ts'
import { createListLog } from '../../helpers/list-log.ts'

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
  return { store, log: createListLog() }
}

interface Written {
  readonly pool?: string
  readonly source?: string
  readonly counts: Partial<UsageCounts>
}

async function write(store: Store, hour: string, { pool = 'web', source = 'e1', counts }: Written) {
  const value = { pool, hour, source, counts: { ...NOTHING, ...counts } }
  await store.put(`usage/${pool}/${hour}/${source}`, value)
}

const DAY = { from: new Date('2026-03-01T00:00:00Z'), to: new Date('2026-03-02T00:00:00Z') }

t.test('adds up over sources and hours, and takes the largest disk', async (t) => {
  const bed = await bedFor(t)
  const { store } = bed
  await write(store, '2026-03-01T10:00:00.000Z', { counts: { requests: 1, egressBytes: 10, diskBytes: 5 } })
  await write(store, '2026-03-01T10:00:00.000Z', { source: 'e2', counts: { requests: 2, diskBytes: 9 } })
  await write(store, '2026-03-01T12:00:00.000Z', {
    counts: { requests: 4, cpuSeconds: 1, memoryByteSeconds: 2, replicatedBytes: 3, diskBytes: 7 },
  })
  t.strictSame(await sumUsage(bed, { pool: 'web', ...DAY, step: 'hour' }), {
    total: {
      cpuSeconds: 1,
      memoryByteSeconds: 2,
      diskBytes: 9,
      replicatedBytes: 3,
      egressBytes: 10,
      requests: 7,
    },
    steps: [
      {
        at: '2026-03-01T10:00:00.000Z',
        counts: { ...NOTHING, requests: 3, egressBytes: 10, diskBytes: 9 },
      },
      {
        at: '2026-03-01T12:00:00.000Z',
        counts: {
          ...NOTHING,
          requests: 4,
          cpuSeconds: 1,
          memoryByteSeconds: 2,
          replicatedBytes: 3,
          diskBytes: 7,
        },
      },
    ],
  })
})

t.test('takes hours from the first moment on, and not the last', async (t) => {
  const bed = await bedFor(t)
  const hours = [
    '2026-02-28T23:00:00.000Z',
    '2026-03-01T00:00:00.000Z',
    '2026-03-01T23:00:00.000Z',
    '2026-03-02T00:00:00.000Z',
  ]
  for (const hour of hours) await write(bed.store, hour, { counts: { requests: 1 } })
  const { steps } = await sumUsage(bed, { pool: 'web', ...DAY, step: 'hour' })
  t.strictSame(
    steps.map(({ at }) => at),
    hours.slice(1, 3),
  )
})

t.test('an hour belongs where it begins', async (t) => {
  const bed = await bedFor(t)
  await write(bed.store, '2026-03-01T10:00:00.000Z', { counts: { requests: 1 } })
  const within = (from: string, to: string) =>
    sumUsage(bed, { pool: 'web', from: new Date(from), to: new Date(to), step: 'hour' })
  t.equal((await within('2026-03-01T10:00:00Z', '2026-03-01T10:00:01Z')).total.requests, 1)
  t.equal((await within('2026-03-01T10:00:01Z', '2026-03-01T12:00:00Z')).total.requests, 0)
})

t.test('tells days', async (t) => {
  const bed = await bedFor(t)
  await write(bed.store, '2026-03-01T00:00:00.000Z', { counts: { requests: 1 } })
  await write(bed.store, '2026-03-01T23:00:00.000Z', { counts: { requests: 2 } })
  await write(bed.store, '2026-03-03T05:00:00.000Z', { counts: { requests: 4 } })
  const span = { from: DAY.from, to: new Date('2026-04-02T00:00:00Z') }
  const { steps, total } = await sumUsage(bed, { pool: 'web', ...span, step: 'day' })
  t.match(steps, [
    { at: '2026-03-01T00:00:00.000Z', counts: { requests: 3 } },
    { at: '2026-03-03T00:00:00.000Z', counts: { requests: 4 } },
  ])
  t.equal(total.requests, 7)
})

t.test('does not count the pools whose names begin the same', async (t) => {
  const bed = await bedFor(t)
  for (const pool of ['web', 'web-2', 'we', 'web0'])
    await write(bed.store, '2026-03-01T10:00:00.000Z', { pool, counts: { requests: 1 } })
  t.equal((await sumUsage(bed, { pool: 'web', ...DAY, step: 'hour' })).total.requests, 1)
})

t.test('small parts add up to what they are, in whatever order they were written', async (t) => {
  const bed = await bedFor(t)
  for (let n = 0; n < 1_000; n += 1)
    await write(bed.store, '2026-03-01T10:00:00.000Z', { source: `s${n}`, counts: { cpuSeconds: 0.1 } })
  await write(bed.store, '2026-03-01T10:00:00.000Z', { source: 'a', counts: { cpuSeconds: 1e9 } })
  const { total, steps } = await sumUsage(bed, { pool: 'web', ...DAY, step: 'hour' })
  t.equal(total.cpuSeconds, 1_000_000_100)
  t.equal(steps[0]?.counts.cpuSeconds, 1_000_000_100)
})

t.test('a record that breaks a rule is logged and left out', async (t) => {
  const bed = await bedFor(t)
  const hour = '2026-03-01T10:00:00.000Z'
  await write(bed.store, hour, { counts: { requests: 1 } })
  await bed.store.put(`usage/web/${hour}/broken`, { pool: 'web', hour, source: 'broken', counts: {} })
  await bed.store.put(`usage/web/${hour}/stolen`, {
    pool: 'db',
    hour,
    source: 'stolen',
    counts: { ...NOTHING, requests: 50 },
  })
  await bed.store.put('usage/web/2026-03-01T1', {})
  t.equal((await sumUsage(bed, { pool: 'web', ...DAY, step: 'hour' })).total.requests, 1)
  t.strictSame(
    bed.log.lines.map(({ level, key }) => [level, key]),
    [
      ['error', 'usage/web/2026-03-01T1'],
      ['error', `usage/web/${hour}/broken`],
      ['error', `usage/web/${hour}/stolen`],
    ],
  )
})

t.test('reads the pages of the span and no other', async (t) => {
  const bed = await bedFor(t)
  const hours = Array.from({ length: 5_000 }, (_, n) => new Date(Date.UTC(2026, 0, 1, n)).toISOString())
  await bed.store.commit(hours.slice(0, 1_000).map(mutationOf))
  for (let at = 1_000; at < 5_000; at += 1_000)
    await bed.store.commit(hours.slice(at, at + 1_000).map(mutationOf))
  let read = 0
  const store: Pick<Store, 'list'> = {
    async list(prefix, page) {
      const answer = await bed.store.list(prefix, page)
      read += answer.documents.length
      return answer
    },
  }
  const span = { from: new Date(hours[1_500] ?? ''), to: new Date(hours[1_600] ?? '') }
  const { total } = await sumUsage({ ...bed, store }, { pool: 'web', ...span, step: 'hour' })
  t.equal(total.requests, 100)
  t.ok(read <= 1_000, `${read} records were read`)
})

function mutationOf(hour: string) {
  const value = { pool: 'web', hour, source: 'e1', counts: { ...NOTHING, requests: 1 } }
  return { key: `usage/web/${hour}/e1`, value }
}
