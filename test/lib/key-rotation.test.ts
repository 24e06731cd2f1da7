/** Rotation of shared keys: who is in use, when the next one is due, and how a start waits for the first. */

import t, { type Test } from 'tap'
import { findCurrent, findNextTurn, KeyRotation, type RotatedKeys, toTurns } from '../../lib/key-rotation.ts'
import { createListLog } from '../helpers/list-log.ts'
import { until } from '../helpers/until.ts'

const HOUR_MS = 3_600_000
const START = Date.parse('2026-01-31T12:00:00Z')
const rowOf = (id: string, hours: number) => ({
  id,
  from: new Date(START + hours * HOUR_MS).toISOString(),
})
const fromOf = ({ from }: { readonly from: string }) => from

t.test('the last one that has begun is in use, whatever the order of the rows', async (t) => {
  const rows = [rowOf('next', 5), rowOf('b', 2), rowOf('old', 0), rowOf('a', 2)]
  t.same(
    toTurns(rows, fromOf).map(({ id }) => id),
    ['old', 'a', 'b', 'next'],
  )
  t.equal(findCurrent(rows, fromOf, START + HOUR_MS)?.id, 'old')
  t.equal(findCurrent(rows, fromOf, START + 2 * HOUR_MS)?.id, 'b', 'of those of one moment the greater id')
  t.equal(findCurrent(rows, fromOf, START + 9 * HOUR_MS)?.id, 'next')
  t.equal(findCurrent(rows, fromOf, START - HOUR_MS)?.id, 'old', 'made by a clock that is ahead')
  t.equal(findCurrent([], fromOf, START), undefined)
})

t.test('the next one is added before it is due, and everybody has the same time to hear of it', async (t) => {
  const schedule = { keyMs: 12 * HOUR_MS, aheadMs: HOUR_MS }
  t.equal(findNextTurn(START, schedule, START + 11 * HOUR_MS - 1), undefined)
  t.equal(findNextTurn(START, schedule, START + 11 * HOUR_MS), START + 12 * HOUR_MS)
  const late = START + 20 * HOUR_MS
  t.equal(findNextTurn(START, schedule, late), late + HOUR_MS)
})

/** Keys that are added to a store at once, and come to memory when `arrive` is called. */
function rotationFor(t: Test, changes: Partial<RotatedKeys> = {}) {
  const state = { isInUse: false, added: 0, settled: 0, rings: new Set<() => void>() }
  const log = createListLog()
  const rotation = new KeyRotation({
    ...{ what: 'the keys', log, isDue: () => !state.isInUse, isInUse: () => state.isInUse },
    addDue: async () => {
      state.added += 1
    },
    settle: () => {
      state.settled += 1
    },
    onChange: (ring) => {
      state.rings.add(ring)
      return () => state.rings.delete(ring)
    },
    ...changes,
  })
  t.teardown(() => rotation[Symbol.asyncDispose]())
  const arrive = () => {
    state.isInUse = true
    for (const ring of state.rings) ring()
  }
  return { rotation, state, log, arrive }
}

t.test('a start waits until the key that is in the store has come to memory', async (t) => {
  const { rotation, state, arrive } = rotationFor(t)
  let isOver = false
  const started = rotation.start(60_000).then(() => {
    isOver = true
  })
  await until(() => state.rings.size > 0, 'the start waits')
  for (const ring of state.rings) ring()
  await Promise.resolve()
  t.notOk(isOver, 'some other change')
  arrive()
  await started
  t.equal(state.added, 1)
  t.equal(state.rings.size, 0)
})

t.test('a start waits no longer than it is let', async (t) => {
  const { rotation, state } = rotationFor(t)
  await rotation.start(1)
  t.equal(state.rings.size, 0)
})

t.test('a start does not wait while the store is away, which is said each time', async (t) => {
  const addDue = () => Promise.reject(new Error('the store is away'))
  const { rotation, state, log } = rotationFor(t, { addDue })
  await rotation.start(60_000)
  await rotation.rotate()
  t.equal(state.settled, 2, 'memory is looked at all the same')
  t.match(log.lines, [{ level: 'warn', message: /^the keys could not be read/ }, {}])
})

t.test('looks once at a time, and asks the store only when something seems to be due', async (t) => {
  const { rotation, state, arrive } = rotationFor(t)
  await Promise.all([rotation.rotate(), rotation.rotate(), rotation.rotate()])
  t.equal(state.added, 1)
  arrive()
  await rotation.rotate()
  t.equal(state.added, 1)
  t.equal(state.settled, 2)
})
