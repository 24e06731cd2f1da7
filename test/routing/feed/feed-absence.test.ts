/** For how long the store has not answered: told apart from a copy that is old although the store is there. */

import t from 'tap'
import { createAwayStore } from '../../helpers/away-store.ts'
import { until } from '../../helpers/until.ts'
import { followerFor, linesOf, SwitchingStore, storeFor } from './followed-store.ts'

const AWAY = Array.from({ length: 100_000 }, () => new Error('away'))

t.test('is 0 while the store answers, and goes on from its last answer', async (t) => {
  const clock = { ms: 1_000 }
  const away = createAwayStore(await storeFor(t))
  const { follower } = await followerFor(t, away, { now: () => clock.ms })
  t.equal(follower.awayMs(), 0)
  away.goAway()
  clock.ms = 1_500
  await until(() => follower.awayMs() > 0, 'the absence')
  t.equal(follower.awayMs(), 500)
  clock.ms = 61_000
  t.equal(follower.awayMs(), 60_000)
  t.equal(follower.ageMs(), 60_000)
  away.comeBack()
  await until(() => follower.awayMs() === 0, 'the return')
  t.equal(follower.ageMs(), 0)
})

t.test('is Infinity for a store that has never answered', async (t) => {
  const switching = new SwitchingStore(await storeFor(t))
  switching.failures = [...AWAY]
  const { follower } = await followerFor(t, switching)
  t.equal(follower.awayMs(), Number.POSITIVE_INFINITY)
})

t.test('is 0 for a store that is there while its feed stands still', async (t) => {
  const store = await storeFor(t)
  const switching = new SwitchingStore(store)
  const { follower, copy, log } = await followerFor(t, switching)
  switching.isDeaf = true
  switching.resync()
  await until(() => copy.loads === 2, 'the second load')
  await store.put('a/1', {})
  const absences: number[] = []
  await until(() => {
    absences.push(follower.awayMs())
    return linesOf(log, 'warn').length > 0
  }, 'the loss')
  t.ok(follower.ageMs() > 0)
  absences.push(follower.awayMs())
  t.same(new Set(absences), new Set([0]))
})

t.test('is 0 for a store that is there but is another one', async (t) => {
  const first = await storeFor(t)
  await first.put('a/1', {})
  const second = await storeFor(t)
  await second.put('a/2', {})
  const away = createAwayStore(first)
  const { follower } = await followerFor(t, away)
  away.goAway()
  await until(() => follower.awayMs() > 0, 'the absence')
  away.comeBack(second)
  await until(() => follower.isHeld, 'the hold')
  t.equal(follower.awayMs(), 0)
  t.ok(follower.ageMs() > 0)
})

t.test('a store that is back counts as away until the copy has caught up', async (t) => {
  const store = await storeFor(t)
  await store.put('a/1', {})
  const switching = new SwitchingStore(store)
  const { follower, copy } = await followerFor(t, switching, { probeMs: 50 })
  switching.failures = [...AWAY]
  await until(() => follower.awayMs() > 0, 'the absence')
  await store.put('a/2', {})
  const isLate: boolean[] = []
  const inner = copy.apply.bind(copy)
  copy.apply = (change) => {
    isLate.push(follower.awayMs() > 0)
    inner(change)
  }
  switching.failures = []
  await until(() => follower.awayMs() === 0, 'the return')
  t.same(isLate, [true])
  t.equal(follower.ageMs(), 0)
})

t.test('but not for longer than it takes to ask it again', async (t) => {
  const store = await storeFor(t)
  await store.put('a/1', {})
  const switching = new SwitchingStore(store)
  const { follower } = await followerFor(t, switching, { probeMs: 20 })
  switching.failures = [...AWAY]
  await until(() => follower.awayMs() > 0, 'the absence')
  await store.put('a/2', {})
  switching.isDeaf = true
  switching.failures = []
  await until(() => follower.awayMs() === 0, 'the return')
  t.ok(follower.ageMs() > 0, 'the feed stands still')
})
