/** What a store promises of documents: revisions, conditions, listings, isolation from callers. */

import type { Test } from 'tap'
import { FAULTS, RevisionConflict } from '../../routing/errors.ts'
import type { Document, Store } from '../../routing/store/store.ts'
import type { StoreFor } from './store.ts'

export async function testDocuments(t: Test, storeFor: StoreFor): Promise<void> {
  t.test('gives back what was put, with the revision of the write', async (t) => {
    const store = await storeFor(t)
    t.equal(await store.get('a/1'), undefined)
    const revision = await store.put('a/1', { text: 'é€😀', list: [1, { deep: null }], empty: {} })
    t.strictSame(await store.get('a/1'), {
      key: 'a/1',
      value: { text: 'é€😀', list: [1, { deep: null }], empty: {} },
      revision,
    })
  })

  t.test('counts one global revision up by one for each change of any key', async (t) => {
    const store = await storeFor(t)
    const first = await store.put('a', {})
    t.equal(await store.put('b', {}), first + 1)
    t.equal(await store.put('a', {}), first + 2)
    t.equal(await store.delete('b'), first + 3)
    t.equal((await store.list('')).revision, first + 3)
  })

  t.test('deletes, and says undefined when there was nothing', async (t) => {
    const store = await storeFor(t)
    const revision = await store.put('a', {})
    t.equal(await store.delete('a'), revision + 1)
    t.equal(await store.get('a'), undefined)
    t.equal(await store.delete('a'), undefined)
    t.equal((await store.list('')).revision, revision + 1, 'a deletion of nothing is not a change')
  })

  t.test('puts only at the revision that ifRevision names', async (t) => {
    const store = await storeFor(t)
    await t.rejects(store.put('a', {}, { ifRevision: 7 }), { code: 'api_revision_conflict', current: 0 })
    const first = await store.put('a', { n: 1 }, { ifRevision: 0 })
    await t.rejects(store.put('a', { n: 2 }, { ifRevision: 0 }), RevisionConflict)
    await t.rejects(store.put('a', { n: 2 }, { ifRevision: first + 1 }), {
      code: 'api_revision_conflict',
      current: first,
    })
    const second = await store.put('a', { n: 3 }, { ifRevision: first })
    t.strictSame(await store.get('a'), { key: 'a', value: { n: 3 }, revision: second })
    t.equal(second, first + 1, 'a refused write uses up no revision')
  })

  t.test('deletes only at the revision that ifRevision names', async (t) => {
    const store = await storeFor(t)
    const revision = await store.put('a', {})
    await t.rejects(store.delete('a', { ifRevision: revision + 1 }), RevisionConflict)
    await t.rejects(store.delete('b', { ifRevision: revision }), RevisionConflict)
    t.equal(await store.delete('b', { ifRevision: 0 }), undefined)
    t.equal(await store.delete('a', { ifRevision: revision }), revision + 1)
  })

  t.test('lets exactly one of many writers at the same revision win', async (t) => {
    const store = await storeFor(t)
    const writers = Array.from({ length: 50 }, (_, writer) => store.put('a', { writer }, { ifRevision: 0 }))
    const settled = await Promise.allSettled(writers)
    t.equal(settled.filter(({ status }) => status === 'fulfilled').length, 1)
    t.strictSame((await store.get('a'))?.value, { writer: 0 }, 'the first to ask')
  })

  t.test('rejects a conflict for its caller alone', async (t) => {
    const store = await storeFor(t)
    const [before, conflict, after] = await Promise.allSettled([
      store.put('a', { n: 1 }),
      store.put('a', { n: 2 }, { ifRevision: 0 }),
      store.put('b', { n: 3 }),
    ])
    t.match([before.status, conflict.status, after.status], ['fulfilled', 'rejected', 'fulfilled'])
    t.strictSame((await store.get('b'))?.value, { n: 3 })
  })

  t.test('shares no object with its callers', async (t) => {
    const store = await storeFor(t)
    const given = { list: [1], deep: { n: 1 } }
    const put = store.put('a', given)
    given.list.push(2)
    given.deep.n = 2
    await put
    const got = (await store.get('a'))?.value as typeof given
    t.strictSame(got, { list: [1], deep: { n: 1 } })
    t.throws(() => got.list.push(3), TypeError)
    t.throws(() => Object.assign(got.deep, { n: 3 }), TypeError)
    t.strictSame((await store.get('a'))?.value, { list: [1], deep: { n: 1 } })
  })

  t.test('takes JSON objects and well-formed keys only', async (t) => {
    const store = await storeFor(t)
    for (const value of [[], 'text', null, undefined, () => {}]) {
      await t.rejects(store.put('a', value as unknown as Document), TypeError)
    }
    for (const key of ['', 'a\0b', 'a\ud800', 'a'.repeat(1_025)]) {
      await t.rejects(store.put(key, {}), TypeError, JSON.stringify(key))
    }
    t.equal((await store.list('')).revision, 0)
  })

  t.test('lists keys in byte order', async (t) => {
    const store = await storeFor(t)
    // U+FF5E sorts before U+1F600 in UTF-8, and after it in UTF-16.
    const sorted = ['-', '0', 'A', 'Z', 'a', 'a/', 'a/b', 'aa', 'é', '\uff5e', '\u{1f600}']
    await Promise.all(sorted.toReversed().map((key) => store.put(key, {})))
    t.strictSame(await listKeys(store, ''), sorted)
  })

  t.test('lists by prefix, special characters being nothing special', async (t) => {
    const store = await storeFor(t)
    const keys = ['a%', 'a%b', 'a*', 'a_', 'a_b', 'ab', 'abc', 'a\\', 'b', '%']
    await Promise.all(keys.map((key) => store.put(key, {})))
    t.strictSame(await listKeys(store, 'a%'), ['a%', 'a%b'])
    t.strictSame(await listKeys(store, 'a_'), ['a_', 'a_b'])
    t.strictSame(await listKeys(store, 'a*'), ['a*'])
    t.strictSame(await listKeys(store, 'a\\'), ['a\\'])
    t.strictSame(await listKeys(store, 'ab'), ['ab', 'abc'])
    t.strictSame(await listKeys(store, 'c'), [])
  })

  t.test('lists page by page, each key once', async (t) => {
    const store = await storeFor(t)
    const keys = Array.from({ length: 25 }, (_, index) => `k/${String(index).padStart(2, '0')}`)
    await Promise.all([...keys, 'j/1', 'l/1'].map((key) => store.put(key, { key })))
    t.strictSame(await listKeys(store, 'k/', 10), keys)
    t.strictSame(await listKeys(store, 'k/', 25), keys)
    t.notOk('next' in (await store.list('k/', { limit: 25 })), 'a full last page has no next')
    t.strictSame((await store.list('k/', { after: 'a' })).documents.length, 25, 'a cursor before the prefix')
    t.strictSame((await store.list('k/', { after: 'z' })).documents.length, 0, 'a cursor after the prefix')
    t.strictSame((await store.list('k/', { after: 'k/10x', limit: 1 })).documents[0]?.key, 'k/11')
    await t.rejects(store.list('k/', { limit: 0 }), RangeError)
  })

  t.test('lists what was put and deleted since the last listing', async (t) => {
    const store = await storeFor(t)
    await store.put('b', {})
    t.strictSame(await listKeys(store, ''), ['b'])
    await store.put('a', {})
    t.strictSame(await listKeys(store, ''), ['a', 'b'])
    await store.delete('b')
    t.strictSame(await listKeys(store, ''), ['a'])
  })

  t.test('gives 1,000 documents a page unless told otherwise', async (t) => {
    const store = await storeFor(t)
    await Promise.all(Array.from({ length: 1_001 }, (_, index) => store.put(`k/${index}`, {})))
    const page = await store.list('k/')
    t.equal(page.documents.length, 1_000)
    t.equal(page.next, page.documents.at(-1)?.key)
  })

  t.test('carries out what was asked before it is disposed, and refuses the rest', async (t) => {
    const store = await storeFor(t)
    const writes = Array.from({ length: 1_000 }, (_, index) => store.put(`k/${index}`, {}))
    await store[Symbol.asyncDispose]()
    t.equal((await Promise.all(writes)).at(-1), 1_000)
    const closed = { code: 'store_closed', fault: FAULTS.store_closed }
    await t.rejects(store.get('k/1'), closed)
    await t.rejects(store.list(''), closed)
    await t.rejects(store.put('a', {}), closed)
    await t.rejects(store.delete('a'), closed)
    await t.rejects(store.acquireLease('a', 'me', 1), closed)
    await store[Symbol.asyncDispose]()
  })
}

async function listKeys(store: Store, prefix: string, limit = 1_000): Promise<string[]> {
  const keys: string[] = []
  let after = ''
  for (;;) {
    const page = await store.list(prefix, { after, limit })
    keys.push(...page.documents.map(({ key }) => key))
    if (page.next === undefined) return keys
    after = page.next
  }
}
