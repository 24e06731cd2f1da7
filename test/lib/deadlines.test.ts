/** The one timer for many limits: who is asked, with which time, and who no more. */

import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Deadlines, type Watched } from '../../lib/deadlines.ts'
import { lostTimeFor } from '../helpers/lost-time.ts'
import { until } from '../helpers/until.ts'

function deadlinesFor(t: Test): Deadlines {
  const deadlines = new Deadlines()
  t.teardown(() => deadlines[Symbol.dispose]())
  return deadlines
}

type Counting = Watched & { readonly times: number[] }

function counting(whenAsked: () => void = () => {}): Counting {
  const times: number[] = []
  return {
    slot: -1,
    times,
    checkDeadlines(now) {
      times.push(now)
      whenAsked()
    },
  }
}

t.test('asks each watched object again and again, with the time of performance.now()', async (t) => {
  const deadlines = deadlinesFor(t)
  const [one, other] = [counting(), counting()]
  const before = performance.now()
  deadlines.add(one)
  deadlines.add(other)
  await until(() => one.times.length >= 3, 'three ticks')
  const after = performance.now()
  t.same(one.times, other.times, 'both at the same time')
  t.ok(
    one.times.every((time, at) => time >= (one.times[at - 1] ?? before) && time <= after),
    'the time goes forward',
  )
})

t.test('asks no more who was deleted, and asks once who was added twice', async (t) => {
  const deadlines = deadlinesFor(t)
  const [leaving, staying] = [counting(), counting()]
  deadlines.add(leaving)
  deadlines.add(staying)
  deadlines.add(staying)
  await until(() => staying.times.length >= 1, 'a tick')
  deadlines.delete(leaving)
  const [left, stayed] = [leaving, staying].map(({ times }) => times.length)
  t.equal(left, stayed)
  await until(() => staying.times.length >= Number(stayed) + 2, 'more ticks')
  t.equal(leaving.times.length, left)
  t.equal(new Set(staying.times).size, staying.times.length)
})

t.test('lets the objects leave and come while they are asked', async (t) => {
  const deadlines = deadlinesFor(t)
  const late = counting()
  const objects = Array.from({ length: 5 }, () =>
    counting(() => {
      for (const each of objects) deadlines.delete(each)
      deadlines.add(late)
    }),
  )
  for (const each of objects) deadlines.add(each)
  await until(() => late.times.length >= 2, 'the late one is asked')
  t.same(
    objects.map(({ times }) => times.length),
    [1, 1, 1, 1, 1],
  )
})

t.test('asks nobody after its disposal', async (t) => {
  const deadlines = deadlinesFor(t)
  const watched = counting()
  deadlines.add(watched)
  await until(() => watched.times.length >= 1, 'a tick')
  deadlines[Symbol.dispose]()
  const ticks = watched.times.length
  await sleep(250)
  t.equal(watched.times.length, ticks)
})

t.test('asks within a fraction of a second, so that a limit is late by no more than that', async (t) => {
  const deadlines = deadlinesFor(t)
  const watched = counting()
  const lostMs = lostTimeFor(t)
  const before = performance.now()
  deadlines.add(watched)
  await until(() => watched.times.length > 0, 'a tick', 2_000)
  t.ok((watched.times[0] ?? 0) - before < 1_000 + lostMs())
})
