/** Edits: what becomes of a plan when other writers are faster, and when it changes nothing. */

import t, { type Test } from 'tap'
import { RevisionConflict } from '../../../routing/errors.ts'
import { commitPlanned, type Edit, isVoid, toEdit, toMutations } from '../../../routing/records/edits.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Mutation, Store } from '../../../routing/store/store.ts'

t.test('an edit that leaves a document as it is changes nothing', (t) => {
  const before = { value: { a: { b: [1] } }, revision: 7 }
  t.ok(isVoid({ key: 'k', before, after: { a: { b: [1] } } }))
  t.notOk(isVoid({ key: 'k', before, after: { a: { b: [2] } } }))
  t.notOk(isVoid({ key: 'k', before, after: undefined }))
  t.ok(isVoid({ key: 'k', before: undefined, after: undefined }))
  const stored = { key: 'k', record: Object.freeze({ a: 1 }), revision: 3 }
  t.ok(isVoid(toEdit('k', { before: stored, after: { a: 1 } })))
  t.end()
})

t.test('an edit is committed at the revision that was read', (t) => {
  const record = { a: 1 }
  const edits = [
    toEdit('new', { before: undefined, after: record }),
    toEdit('old', { before: { key: 'old', record, revision: 3 }, after: { a: 2 } }),
    toEdit('gone', { before: { key: 'gone', record, revision: 4 }, after: undefined }),
  ]
  t.same(toMutations(edits), [
    { key: 'new', value: { a: 1 }, ifRevision: 0 },
    { key: 'old', value: { a: 2 }, ifRevision: 3 },
    { key: 'gone', value: undefined, ifRevision: 4 },
  ])
  t.end()
})

t.test('commits what changes, with what goes with it, and tells the revisions', async (t) => {
  const store = await storeFor(t)
  await store.put('same', { a: 1 })
  const same = await store.get('same')
  const edits: Edit[] = [
    { key: 'same', before: same, after: { a: 1 } },
    { key: 'new', before: undefined, after: { a: 1 } },
  ]
  const extra: Mutation = { key: 'audit', value: { of: 'new' }, ifRevision: 0 }
  const { plan, revisions } = await commitPlanned(
    store,
    async () => ({ edits, more: 1 }),
    () => [extra],
  )
  t.equal(plan.more, 1)
  t.same(
    [...revisions],
    [
      ['new', 2],
      ['audit', 3],
    ],
  )
  t.equal((await store.get('same'))?.revision, 1)
})

t.test('a plan that changes nothing commits nothing, not even what would go with it', async (t) => {
  const store = await storeFor(t)
  const { revisions } = await commitPlanned(
    store,
    async () => ({ edits: [{ key: 'k', before: undefined, after: undefined }] }),
    () => t.fail('nobody asks') as never,
  )
  t.equal(revisions.size, 0)
  t.equal((await store.list('')).revision, 0)
})

t.test('plans anew whenever another writer was faster', async (t) => {
  const store = await storeFor(t)
  let plans = 0
  const { plan } = await commitPlanned(store, async () => {
    const before = await store.get('count')
    plans += 1
    if (plans <= 6) await store.put('count', { value: plans * 10 })
    return { edits: [{ key: 'count', before, after: { value: Number(before?.value.value ?? 0) + 1 } }] }
  })
  t.equal(plans, 7)
  t.match(plan.edits, [{ after: { value: 61 } }])
})

t.test('many writers of one document all succeed', async (t) => {
  const store = await storeFor(t)
  const add = () =>
    commitPlanned(store, async () => {
      const before = await store.get('count')
      return { edits: [{ key: 'count', before, after: { value: Number(before?.value.value ?? 0) + 1 } }] }
    })
  await Promise.all(Array.from({ length: 150 }, add))
  t.match(await store.get('count'), { value: { value: 150 } })
})

t.test('what a plan refuses is not tried again, and in the end a conflict is told', async (t) => {
  const store = await storeFor(t)
  let plans = 0
  const refuse = async () => {
    plans += 1
    throw new RevisionConflict({ key: 'k', current: 1 })
  }
  await t.rejects(commitPlanned(store, refuse), { code: 'api_revision_conflict' })
  t.equal(plans, 1)
  plans = 0
  const lose = async () => {
    plans += 1
    return { edits: [{ key: 'k', before: { value: {}, revision: 99 }, after: { a: 1 } }] }
  }
  await t.rejects(commitPlanned(store, lose), { code: 'api_revision_conflict' })
  t.equal(plans, 100)
  const closed = { commit: () => Promise.reject(new Error('lost')) }
  plans = 0
  await t.rejects(commitPlanned(closed, lose), { message: 'lost' })
  t.equal(plans, 1, 'a store that fails is no faster writer')
})

async function storeFor(t: Test): Promise<Store> {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}
