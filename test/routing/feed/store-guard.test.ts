/** What becomes of a copy whose store lost its data, or is another one. */

import t from 'tap'
import { until } from '../../helpers/until.ts'
import { followerFor, linesOf, MapCopy, SwitchingStore, storeFor } from './followed-store.ts'

t.test('a store that lost its data is not loaded before an operator says so', async (t) => {
  const old = await storeFor(t)
  await old.put('a/old', { n: 1 })
  const switching = new SwitchingStore(old)
  const { follower, copy, log } = await followerFor(t, switching)
  const { storeId } = follower
  const wiped = await storeFor(t)
  await wiped.put('a/new', { n: 2 })
  switching.current = wiped
  await until(() => follower.isHeld, 'the copy is held')
  await until(() => switching.lists > 20, 'many more probes')
  t.same(copy.keys(), ['a/old'])
  t.equal(follower.storeId, storeId)
  t.ok(follower.ageMs() > 0, 'it ages')
  t.match(linesOf(log, 'error'), [{ storeId, newStoreId: /./ }])
  t.equal(linesOf(log, 'error').length, 1, 'said once in a minute')
  await wiped.put(`accept/${(await wiped.list('', { limit: 1 })).storeId}`, {})
  await until(() => copy.keys().includes('a/new'), 'the new store is taken')
  t.same(copy.keys(), ['a/new'])
  t.equal(follower.isHeld, false)
  t.not(follower.storeId, storeId)
  t.equal(follower.ageMs(), 0)
})

t.test('a store without an id, or another one, is held until the old one is back', async (t) => {
  const old = await storeFor(t)
  await old.put('a/old', { n: 1 })
  const switching = new SwitchingStore(old)
  const { follower, copy } = await followerFor(t, switching)
  switching.storeId = ''
  await until(() => follower.isHeld, 'the copy is held')
  switching.storeId = undefined
  await old.put('a/later', { n: 2 })
  await until(() => !follower.isHeld && copy.keys().length === 2, 'the old store is followed again')
  t.equal(follower.ageMs(), 0)
})

t.test('a copy that is empty has nothing to lose', async (t) => {
  const switching = new SwitchingStore(await storeFor(t))
  const { follower, copy } = await followerFor(t, switching)
  const other = await storeFor(t)
  await other.put('a/1', {})
  switching.current = other
  await until(() => copy.keys().length === 1, 'the other store is taken')
  t.equal(follower.isHeld, false)
})

t.test('starts from an earlier copy although the store is another one', async (t) => {
  const store = await storeFor(t)
  await store.put('a/2', {})
  const from = { storeId: 'x', position: { revision: 5, mark: 'm' }, ageMs: 0 }
  const settings = { from, copy: new MapCopy([['a/1', {}]]), startLimitMs: 20_000 }
  const startedAt = performance.now()
  const { follower, copy } = await followerFor(t, store, settings)
  t.ok(performance.now() - startedAt < 15_000, 'at once')
  t.equal(follower.isHeld, true)
  t.same(copy.keys(), ['a/1'])
})
