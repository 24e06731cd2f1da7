/** The feed follower: what a copy sees of a store that pauses, lies, fails, falls back or is suddenly another one. */

import t from 'tap'
import { until } from '../../helpers/until.ts'
import { bound, followerFor, linesOf, MapCopy, SwitchingStore, storeFor } from './followed-store.ts'

t.test(
  'keeps a copy of the prefixes that it is told, and its position goes on with all changes',
  async (t) => {
    const store = await storeFor(t)
    for (const key of ['a/1', 'b/1', 'c/1']) await store.put(key, { n: 1 })
    const { follower, copy } = await followerFor(t, store, { prefixes: ['a/', 'c/'] })
    t.same(copy.keys(), ['a/1', 'c/1'])
    await store.put('c/2', {})
    await store.delete('a/1')
    await store.put('b/2', {})
    await until(() => follower.position?.revision === 6, 'all six changes')
    t.same(copy.keys(), ['c/1', 'c/2'])
    t.equal(follower.ageMs(), 0)
    t.equal(follower.isConfirmed, true)
    const page = await store.list('', { limit: 1 })
    t.equal(follower.storeId, page.storeId)
    t.equal(follower.position?.mark, page.mark)
  },
)

t.test('goes on when one record is refused, and the last good one stays', async (t) => {
  const store = await storeFor(t)
  const switching = new SwitchingStore(store)
  await store.put('a/good', { n: 1 })
  await store.put('a/bad', { poison: true })
  const { follower, copy, log } = await followerFor(t, switching)
  t.same(copy.keys(), ['a/good'])
  await store.put('a/good', { poison: true })
  await store.put('a/later', { n: 2 })
  await until(() => copy.keys().length === 2, 'the later record')
  t.same(copy.value('a/good'), { n: 1 })
  t.equal(follower.refusals.count, 2)
  t.same(follower.refusals.last, { key: 'a/good', revision: 3, reason: 'poisoned' })
  t.match(linesOf(log, 'error'), [
    { key: 'a/bad', revision: 2, err: { message: 'poisoned' } },
    { key: 'a/good', revision: 3 },
  ])
  switching.resync()
  await until(() => copy.loads === 2, 'the second load')
  t.same(copy.value('a/good'), { n: 1 }, 'also through a resync')
})

t.test('says the first hundred refusals of a minute, and counts all', async (t) => {
  const store = await storeFor(t)
  await store.commit(Array.from({ length: 500 }, (_, n) => ({ key: `a/${n}`, value: { poison: true } })))
  const { follower, log } = await followerFor(t, store)
  t.equal(follower.refusals.count, 500)
  t.equal(linesOf(log, 'error').length, 100)
})

t.test('a load that outlasts the feed is complete when it appears, and the only one', async (t) => {
  const store = await storeFor(t, 20)
  await store.commit(Array.from({ length: 1_000 }, (_, n) => ({ key: `a/${n}`, value: { n } })))
  const switching = new SwitchingStore(store)
  switching.pageLimit = 500
  const gate = switching.holdList(2)
  const starting = followerFor(t, switching)
  await until(() => switching.lists === 2, 'the second listing')
  for (let n = 0; n < 100; n += 1) await store.put(`a/${n}`, { n: -n })
  await store.delete('a/999')
  await store.put('b/1', {})
  await until(() => switching.taken === 1_102, 'the feed is taken')
  gate.resolve()
  const { follower, copy } = await starting
  t.equal(copy.keys().length, 999)
  t.same(copy.value('a/99'), { n: -99 })
  t.equal(follower.position?.revision, 1_102)
  t.equal(copy.loads, 1)
})

t.test('a change that the listing held already does not undo what came after it', async (t) => {
  const store = await storeFor(t)
  await store.put('a/1', { n: 1 })
  const switching = new SwitchingStore(store)
  switching.pageLimit = 1
  const gate = switching.holdList(2)
  await store.put('a/2', { n: 1 })
  const starting = followerFor(t, switching)
  await store.delete('a/2')
  await store.put('a/2', { n: 2 })
  gate.resolve()
  const { copy } = await starting
  t.same(copy.value('a/2'), { n: 2 })
})

t.test('a load that fails half-way shows nothing and is repeated', async (t) => {
  const store = await storeFor(t)
  for (const n of [1, 2, 3]) await store.put(`a/${n}`, { n })
  const switching = new SwitchingStore(store)
  switching.pageLimit = 1
  switching.failures = [undefined, undefined, new Error('cut')]
  const { follower, copy, log } = await followerFor(t, switching)
  t.same(copy.keys(), [])
  t.equal(follower.position, undefined)
  t.equal(follower.ageMs(), Number.POSITIVE_INFINITY)
  await until(() => follower.position !== undefined, 'the load is repeated')
  t.same(copy.keys(), ['a/1', 'a/2', 'a/3'])
  t.match(linesOf(log, 'warn'), [{ err: { message: 'cut' } }])
  t.match(linesOf(log, 'info'), [{ message: 'the copy follows the store again' }])
})

t.test('pages of two stores never make one copy', async (t) => {
  const first = await storeFor(t)
  for (const n of [1, 2, 3]) await first.put(`a/${n}`, {})
  const second = await storeFor(t)
  for (const n of [3, 4]) await second.put(`a/${n}`, {})
  const switching = new SwitchingStore(first)
  switching.pageLimit = 1
  const gate = switching.holdList(2)
  const starting = followerFor(t, switching)
  await until(() => switching.lists === 2, 'the second listing')
  switching.current = second
  gate.resolve()
  const { follower, copy } = await starting
  await until(() => follower.position !== undefined, 'the load is repeated')
  t.same(copy.keys(), ['a/3', 'a/4'])
})

t.test('a feed that stands still while the store goes on is noticed and taken up again', async (t) => {
  const store = await storeFor(t)
  const switching = new SwitchingStore(store)
  const { follower, copy, log } = await followerFor(t, switching)
  switching.isDeaf = true
  switching.resync()
  await until(() => copy.loads === 2, 'the second load')
  await store.put('a/1', {})
  await until(() => linesOf(log, 'warn').length > 0, 'a word of it')
  t.match(linesOf(log, 'warn'), [{ err: { message: 'the feed stands still' } }])
  t.ok(follower.ageMs() > 0)
  switching.isDeaf = false
  await until(() => copy.keys().length === 1, 'the record of the meantime')
  await until(() => follower.ageMs() === 0, 'it is fresh again')
  t.equal(copy.loads, 2, 'without a listing')
})

t.test('a store of the same id that fell back is loaded anew', async (t) => {
  const store = await storeFor(t)
  await store.put('a/kept', { n: 1 })
  await store.put('a/lost', { n: 2 })
  const switching = new SwitchingStore(store)
  const { follower, copy } = await followerFor(t, switching)
  const fallen = await storeFor(t)
  await fallen.put('a/kept', { n: 1 })
  switching.storeId = follower.storeId
  switching.current = fallen
  await until(() => copy.loads === 2, 'the second load')
  t.same(copy.keys(), ['a/kept'])
  t.equal(follower.isHeld, false)
})

t.test('goes on from where an earlier process was, without a listing', async (t) => {
  const store = await storeFor(t)
  await store.put('a/1', { n: 1 })
  const { revision, mark, storeId } = await store.list('', { limit: 1 })
  await store.put('a/2', { n: 2 })
  const switching = new SwitchingStore(store)
  const copy = new MapCopy([['a/1', { n: 1 }]])
  const from = { storeId, position: { revision, mark }, ageMs: 60_000 }
  const { follower } = await followerFor(t, switching, { from, copy, probeMs: 60_000 })
  t.same(copy.keys(), ['a/1', 'a/2'])
  t.equal(copy.loads, 0)
  t.equal(follower.ageMs(), 0)
  t.equal(follower.isConfirmed, true)
})

t.test('a quiet store confirms an earlier copy at once', async (t) => {
  const store = await storeFor(t)
  await store.put('a/1', { n: 1 })
  const { revision, mark, storeId } = await store.list('', { limit: 1 })
  const from = { storeId, position: { revision, mark }, ageMs: 60_000 }
  const settings = { from, copy: new MapCopy([['a/1', { n: 1 }]]), probeMs: 60_000, startLimitMs: 1_000 }
  const { follower } = await followerFor(t, store, settings)
  t.equal(follower.ageMs(), 0)
})

t.test('is fresh only when it has caught up with what the store had', async (t) => {
  const store = await storeFor(t)
  const { mark, storeId } = await store.list('', { limit: 1 })
  for (let n = 1; n <= 400; n += 1) await store.put(`a/${n}`, {})
  const switching = new SwitchingStore(store)
  const gate = Promise.withResolvers<void>()
  switching.pause = gate.promise
  const from = { storeId, position: { revision: 0, mark }, ageMs: 60_000 }
  const { follower, copy } = await followerFor(t, switching, { from, startLimitMs: 500, probeMs: 60_000 })
  t.ok(copy.keys().length > 0 && copy.keys().length < 400)
  t.ok(follower.ageMs() >= 60_000)
  gate.resolve()
  await until(() => follower.ageMs() === 0, 'it has caught up')
  t.equal(copy.keys().length, 400)
})

t.test('starts from an earlier copy while the store is away, and says how old it is', async (t) => {
  const store = await storeFor(t)
  const switching = new SwitchingStore(store)
  switching.failures = Array.from({ length: 1_000 }, () => new Error('away'))
  const from = { storeId: 'x', position: { revision: 5, mark: 'm' }, ageMs: 60_000 }
  const { follower } = await followerFor(t, switching, { from, copy: new MapCopy([['a/1', {}]]) })
  t.ok(follower.ageMs() >= 60_000 && follower.ageMs() < 70_000, String(follower.ageMs()))
  t.equal(follower.isConfirmed, false)
  t.same(follower.position, from.position)
})

t.test('does not wait longer than its limit for a store that does not answer', async (t) => {
  const store = await storeFor(t)
  const switching = new SwitchingStore(store)
  const gate = switching.holdList()
  const from = { storeId: 'x', position: { revision: 5, mark: 'm' }, ageMs: 0 }
  const startedAt = performance.now()
  const { follower } = await followerFor(t, switching, { from, startLimitMs: 50 })
  t.ok(performance.now() - startedAt < 3_000)
  t.equal(follower.isConfirmed, false)
  gate.resolve()
})

t.test('changes nothing any more once it is disposed', async (t) => {
  const store = await storeFor(t)
  const { follower, copy } = await followerFor(t, store)
  await follower[Symbol.asyncDispose]()
  await store.put('a/1', {})
  await new Promise((resolve) => setImmediate(resolve))
  t.same(copy.keys(), [])
})

t.test('ends at once in the midst of a load', async (t) => {
  const store = await storeFor(t)
  const document = { key: 'a/1', value: {}, revision: 1 }
  const endless = { documents: [document], revision: 1, mark: 'm', storeId: 'x', next: 'a/1' }
  const { watch, get } = bound(store)
  const starting = followerFor(t, { watch, get, list: async () => endless }, { startLimitMs: 20 })
  const { follower, copy } = await starting
  await follower[Symbol.asyncDispose]()
  t.equal(copy.loads, 0)
})

t.test('takes nothing from a feed that tells on after its end', async (t) => {
  const store = await storeFor(t)
  await store.put('a/1', {})
  const late = {
    kind: 'changes' as const,
    changes: [{ key: 'a/2', value: {}, revision: 2 }],
    position: { revision: 2, mark: 'm' },
  }
  async function* watch(_from: number, signal: AbortSignal) {
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    yield late
  }
  const { follower, copy } = await followerFor(t, { ...bound(store), watch })
  await follower[Symbol.asyncDispose]()
  t.same(copy.keys(), ['a/1'])
})
