/** What a store promises of its feed: every change, in order, once; or a resync. */

import type { Test } from 'tap'
import type { Change, FeedEvent, Store } from '../../routing/store/store.ts'
import type { StoreFor } from './store.ts'

export async function testFeed(t: Test, storeFor: StoreFor): Promise<void> {
  t.test('tells every change in order, deletions too', async (t) => {
    const store = await storeFor(t)
    const first = await store.put('a', { n: 1 })
    await store.put('a', { n: 2 })
    await store.delete('a')
    t.strictSame(await takeChanges(t, store, { from: 0, count: 3 }), [
      { revision: first, key: 'a', value: { n: 1 } },
      { revision: first + 1, key: 'a', value: { n: 2 } },
      { revision: first + 2, key: 'a', value: undefined },
    ])
  })

  t.test('tells changes that come while it waits', async (t) => {
    const store = await storeFor(t)
    const watched = takeChanges(t, store, { from: 0, count: 2 })
    await store.put('a', {})
    await new Promise(setImmediate)
    await store.put('b', {})
    t.strictSame(
      (await watched).map(({ key }) => key),
      ['a', 'b'],
    )
  })

  t.test('loses and repeats nothing when many write at once and several watch', async (t) => {
    const store = await storeFor(t)
    const count = 2_000
    const watchers = [0, 0, 0].map((from) => takeChanges(t, store, { from, count }))
    const writes = Array.from({ length: count }, (_, n) => store.put(`k/${n % 7}`, { n }))
    const revisions = await Promise.all(writes)
    for (const changes of await Promise.all(watchers)) {
      t.strictSame(
        changes.map(({ revision }) => revision),
        revisions,
      )
      t.strictSame(changes.at(-1)?.value, { n: count - 1 })
    }
  })

  t.test('resumes after the revision that it is given', async (t) => {
    const store = await storeFor(t)
    await store.put('a', {})
    const { revision } = await store.list('')
    await store.put('b', {})
    await store.put('c', {})
    const changes = await takeChanges(t, store, { from: revision, count: 2 })
    t.strictSame(
      changes.map(({ key }) => key),
      ['b', 'c'],
    )
  })

  t.test('says resync, and ends, when the feed was trimmed past the watcher', async (t) => {
    const store = await storeFor(t, { feedLimit: 5 })
    for (let n = 0; n < 12; n += 1) await store.put('a', { n })
    t.strictSame(await takeAll(store, 6), [{ kind: 'resync' }], 'change 7 is gone')
    t.equal((await takeChanges(t, store, { from: 7, count: 5 })).length, 5, 'the last five are there')
  })

  t.test('says resync to a watcher from the future, whose store was another', async (t) => {
    const store = await storeFor(t)
    t.strictSame(await takeAll(store, 99), [{ kind: 'resync' }])
  })

  t.test('says resync to a slow watcher instead of keeping all that it has not read', async (t) => {
    const store = await storeFor(t, { feedLimit: 10 })
    const stop = new AbortController()
    t.teardown(() => stop.abort())
    const slow = store.watch(0, stop.signal)[Symbol.asyncIterator]()
    await store.put('a', {})
    t.match(await slow.next(), { value: { kind: 'changes', changes: [{ revision: 1 }] } })
    await Promise.all(Array.from({ length: 100 }, () => store.put('a', {})))
    let next = await slow.next()
    // A store may have read a few ahead for it.
    if (!next.done && next.value.kind === 'changes') {
      t.ok(next.value.changes.length <= 20)
      next = await slow.next()
    }
    t.match(next, { value: { kind: 'resync' } })
    t.match(await slow.next(), { done: true })
  })

  t.test('hands out large gaps in batches', async (t) => {
    const store = await storeFor(t)
    await Promise.all(Array.from({ length: 3_000 }, () => store.put('a', {})))
    const stop = new AbortController()
    t.teardown(() => stop.abort())
    for await (const event of store.watch(0, stop.signal)) {
      t.ok(event.kind === 'changes' && event.changes.length < 3_000)
      break
    }
  })

  t.test('ends when the signal aborts, before and while it waits', async (t) => {
    const store = await storeFor(t)
    t.strictSame(await takeAll(store, 0, AbortSignal.abort()), [])
    const stop = new AbortController()
    const waiting = takeAll(store, 0, stop.signal)
    await new Promise(setImmediate)
    stop.abort()
    t.strictSame(await waiting, [])
    await store.put('a', {})
  })

  t.test('ends all watches when the store is disposed', async (t) => {
    const store = await storeFor(t)
    const waiting = [takeAll(store, 0), takeAll(store, 0)]
    await new Promise(setImmediate)
    await store[Symbol.asyncDispose]()
    t.strictSame(await Promise.all(waiting), [[], []])
    t.strictSame(await takeAll(store, 0), [])
  })
}

async function takeChanges(
  t: Test,
  store: Store,
  { from, count }: { from: number; count: number },
): Promise<readonly Change[]> {
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  const taken: Change[] = []
  for await (const event of store.watch(from, stop.signal)) {
    if (event.kind === 'resync') throw new Error('resync')
    taken.push(...event.changes)
    if (taken.length >= count) break
  }
  return taken
}

async function takeAll(
  store: Store,
  from: number,
  signal = new AbortController().signal,
): Promise<FeedEvent[]> {
  const taken: FeedEvent[] = []
  for await (const event of store.watch(from, signal)) taken.push(event)
  return taken
}
