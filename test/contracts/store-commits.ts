/** What a store promises of commits: all mutations or none, one revision each, in order. */

import type { Test } from 'tap'
import { FAULTS, RevisionConflict } from '../../routing/errors.ts'
import { type Document, MAX_MUTATIONS, type Mutation, type Store } from '../../routing/store/store.ts'
import type { StoreFor } from './store.ts'

export async function testCommits(t: Test, storeFor: StoreFor): Promise<void> {
  t.test('carries out all mutations, each under the next revision', async (t) => {
    const store = await storeFor(t)
    const first = await store.put('a', { n: 1 })
    const revisions = await store.commit([
      { key: 'b', value: { n: 2 } },
      { key: 'a', value: undefined },
      { key: 'c', value: { n: 3 } },
    ])
    t.strictSame(revisions, [first + 1, first + 2, first + 3])
    t.strictSame((await store.list('')).documents, [
      { key: 'b', value: { n: 2 }, revision: first + 1 },
      { key: 'c', value: { n: 3 }, revision: first + 3 },
    ])
  })

  t.test('tells watchers of them in their order', async (t) => {
    const store = await storeFor(t)
    await store.put('b', {})
    await store.commit([
      { key: 'c', value: { n: 1 } },
      { key: 'b', value: undefined },
      { key: 'a', value: { n: 2 } },
    ])
    const told: unknown[] = []
    for await (const event of store.watch(1, new AbortController().signal)) {
      if (event.kind === 'changes') told.push(...event.changes)
      if (told.length >= 3) break
    }
    t.strictSame(told, [
      { revision: 2, key: 'c', value: { n: 1 } },
      { revision: 3, key: 'b', value: undefined },
      { revision: 4, key: 'a', value: { n: 2 } },
    ])
  })

  t.test('does nothing at all when a later condition fails', async (t) => {
    const store = await storeFor(t)
    const revision = await store.put('b', { n: 1 })
    const failing = store.commit([
      { key: 'a', value: { n: 2 } },
      { key: 'b', value: { n: 2 }, ifRevision: revision + 1 },
      { key: 'c', value: { n: 2 } },
    ])
    await t.rejects(failing, {
      code: 'api_revision_conflict',
      current: revision,
      context: { key: 'b', expected: revision + 1, current: revision },
    })
    await t.rejects(failing, RevisionConflict)
    const page = await store.list('')
    t.strictSame(page.documents, [{ key: 'b', value: { n: 1 }, revision }])
    t.equal(page.revision, revision, 'no revision is used up')
  })

  t.test('names the first of several conflicts', async (t) => {
    const store = await storeFor(t)
    const failing = store.commit([
      { key: 'a', value: {} },
      { key: 'b', value: {}, ifRevision: 5 },
      { key: 'c', value: undefined, ifRevision: 6 },
    ])
    await t.rejects(failing, {
      code: 'api_revision_conflict',
      context: { key: 'b', expected: 5, current: 0 },
    })
  })

  t.test('checks a condition without a write', async (t) => {
    const store = await storeFor(t)
    const first = await store.put('a', { n: 1 })
    const pin = (key: string, ifRevision: number) =>
      store.commit([
        { key, value: { n: 9 }, ifRevision, isCheck: true },
        { key: 'b', value: { n: 2 } },
      ])
    t.strictSame(await pin('a', first), [undefined, first + 1])
    t.strictSame(await store.get('a'), { key: 'a', value: { n: 1 }, revision: first }, 'it is left alone')
    t.strictSame(await pin('absent', 0), [undefined, first + 2])
    t.equal(await store.get('absent'), undefined)
    await t.rejects(pin('a', first + 1), { code: 'api_revision_conflict', context: { key: 'a' } })
    await t.rejects(pin('absent', first), { code: 'api_revision_conflict', context: { key: 'absent' } })
    t.equal((await store.list('')).revision, first + 2, 'a check takes no revision')
  })

  t.test('holds each condition against what was there before the commit', async (t) => {
    const store = await storeFor(t)
    const revision = await store.put('a', {})
    const revisions = await store.commit([
      { key: 'a', value: { n: 2 }, ifRevision: revision },
      { key: 'b', value: {}, ifRevision: 0 },
    ])
    t.strictSame(revisions, [revision + 1, revision + 2])
  })

  t.test('says undefined for a deletion of nothing, which uses up no revision', async (t) => {
    const store = await storeFor(t)
    const mixed = await store.commit([
      { key: 'a', value: undefined },
      { key: 'b', value: {} },
      { key: 'c', value: undefined, ifRevision: 0 },
    ])
    t.strictSame(mixed, [undefined, 1, undefined])
    t.strictSame(await store.commit([{ key: 'a', value: undefined }]), [undefined])
    t.equal((await store.list('')).revision, 1)
  })

  t.test('takes as many mutations as a commit may have', async (t) => {
    const store = await storeFor(t)
    const revisions = await store.commit(mutationsOf(MAX_MUTATIONS))
    t.strictSame([revisions.length, revisions[0], revisions.at(-1)], [MAX_MUTATIONS, 1, MAX_MUTATIONS])
    t.equal((await store.list('', { limit: 5_000 })).documents.length, MAX_MUTATIONS)
  })

  t.test('refuses none, too many, a key twice, and what no put takes', async (t) => {
    const store = await storeFor(t)
    const same = { key: 'a', value: {} }
    for (const mutations of [[], mutationsOf(MAX_MUTATIONS + 1), [same, { key: 'a', value: undefined }]]) {
      await t.rejects(store.commit(mutations), TypeError)
    }
    await t.rejects(store.commit([same, { key: '', value: {} }]), TypeError)
    await t.rejects(store.commit([same, { key: 'b', value: [] as unknown as Document }]), TypeError)
    t.equal((await store.list('')).revision, 0)
  })

  t.test('lets one of many commits at the same revision win, with all that it writes', async (t) => {
    const store = await storeFor(t)
    const writers = Array.from({ length: 20 }, (_, writer) =>
      store.commit([
        { key: `by/${writer}`, value: {} },
        { key: 'lock', value: { writer }, ifRevision: 0 },
      ]),
    )
    const settled = await Promise.allSettled(writers)
    t.equal(settled.filter(({ status }) => status === 'fulfilled').length, 1)
    t.strictSame(await keysOf(store), ['by/0', 'lock'])
  })

  t.test('refuses when it is disposed', async (t) => {
    const store = await storeFor(t)
    await store[Symbol.asyncDispose]()
    const refused = store.commit([{ key: 'a', value: {} }])
    await t.rejects(refused, { code: 'store_closed', fault: FAULTS.store_closed })
  })
}

function mutationsOf(count: number): Mutation[] {
  return Array.from({ length: count }, (_, n) => ({ key: `k/${n}`, value: { n } }))
}

async function keysOf(store: Store): Promise<string[]> {
  return (await store.list('')).documents.map(({ key }) => key)
}
