/** What a store promises of marks: the same revision of another history is told apart. */

import type { Test } from 'tap'
import type { Change, FeedEvent, Store } from '../../routing/store/store.ts'
import type { StoreFor } from './store.ts'

export async function testMarks(t: Test, storeFor: StoreFor): Promise<void> {
  t.test("goes on from a page's position", async (t) => {
    const store = await storeFor(t)
    await store.put('a', {})
    const { revision, mark } = await store.list('')
    await store.put('b', {})
    t.strictSame(await takeKeys(store, { revision, mark }), ['b'])
  })

  t.test('goes on from the position of an event, at the end and further back', async (t) => {
    const store = await storeFor(t)
    await store.put('a', {})
    const event = await takeOne(store, { revision: 0 })
    if (event?.kind !== 'changes') throw new Error('no changes')
    const waiting = takeKeys(store, event.position)
    await new Promise(setImmediate)
    await store.put('b', {})
    t.strictSame(await waiting, ['b'])
    await store.put('c', {})
    t.strictSame(await takeKeys(store, event.position, 2), ['b', 'c'])
  })

  t.test('goes on from the position of an empty store', async (t) => {
    const store = await storeFor(t)
    const { revision, mark } = await store.list('')
    t.equal(revision, 0)
    const waiting = takeKeys(store, { revision, mark })
    await store.put('a', {})
    t.strictSame(await waiting, ['a'])
  })

  t.test('goes on from the position where the feed was trimmed', async (t) => {
    const store = await storeFor(t, { feedLimit: 3 })
    await store.put('a', {})
    const { revision, mark } = await store.list('')
    for (const key of ['b', 'c', 'd']) await store.put(key, {})
    t.strictSame(await takeKeys(store, { revision, mark }, 3), ['b', 'c', 'd'])
    await store.put('e', {})
    t.strictSame(await takeOne(store, { revision, mark }), { kind: 'resync' })
  })

  t.test('says resync to a mark that it never gave', async (t) => {
    const store = await storeFor(t)
    await store.put('a', {})
    await store.put('b', {})
    for (const revision of [0, 1, 2]) {
      t.strictSame(await takeOne(store, { revision, mark: 'foreign' }), { kind: 'resync' }, `at ${revision}`)
    }
  })

  t.test('says resync to a mark of another store at the same revision', async (t) => {
    const [store, other] = [await storeFor(t), await storeFor(t)]
    await store.put('a', {})
    await other.put('a', {})
    const page = await other.list('')
    t.equal(page.revision, 1)
    t.strictSame(await takeOne(store, page), { kind: 'resync' })
    t.not(page.storeId, (await store.list('')).storeId, 'they have other identities')
  })

  t.test('has one identity, from its first write on', async (t) => {
    const store = await storeFor(t)
    await store.put('a', {})
    const { storeId } = await store.list('')
    t.match(storeId, /^[0-9a-f-]{36}$/)
    await store.delete('a')
    t.equal((await store.list('a')).storeId, storeId)
  })
}

interface Place {
  readonly revision: number
  readonly mark?: string
}

async function takeOne(store: Store, { revision, mark }: Place): Promise<FeedEvent | undefined> {
  for await (const event of store.watch(revision, new AbortController().signal, mark)) return event
  return undefined
}

async function takeKeys(store: Store, { revision, mark }: Place, count = 1): Promise<string[]> {
  const taken: Change[] = []
  for await (const event of store.watch(revision, new AbortController().signal, mark)) {
    if (event.kind === 'resync') throw new Error('resync')
    taken.push(...event.changes)
    if (taken.length >= count) break
  }
  return taken.map(({ key }) => key)
}
