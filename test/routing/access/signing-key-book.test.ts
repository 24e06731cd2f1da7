/** The book of signing keys: of several edges that rotate at once one does it, on every kind of store. */

import t, { type Test } from 'tap'
import type { SigningKeyBook as Book } from '../../../auth/signing/signing-key-book.ts'
import { createSigningKeyBook } from '../../../routing/access/signing-key-book.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import { startSqliteStore } from '../../../routing/store/sqlite-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { redisFor } from '../../helpers/redis.ts'
import { loggedStoreFor } from '../../helpers/redis-store.ts'
import { FAR, signingKeyOf } from './access-documents.ts'

const redis = await redisFor(t)
const STORES: Readonly<Record<string, (t: Test) => Promise<Store>>> = {
  memory: async (t) => endWith(t, await startMemoryStore()),
  SQLite: async (t) => endWith(t, await startSqliteStore(t.testdir())),
  Redis: async (t) => (await loggedStoreFor(t, { url: `redis://127.0.0.1:${redis.port}` })).store,
}

function endWith(t: Test, store: Store): Store {
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}

for (const [name, storeFor] of Object.entries(STORES)) {
  t.test(`of edges that add a key at once one does it (${name})`, async (t) => {
    const book: Book = createSigningKeyBook(await storeFor(t))
    const letters = [...'abcdefgh']
    const add = async (letter: string) => {
      const { keys, version } = await book.list()
      t.same(keys, [])
      return book.change({ put: [signingKeyOf(letter)] }, version)
    }
    const done = await Promise.all(letters.map(add))
    t.equal(done.filter(Boolean).length, 1)
    const { keys, version } = await book.list()
    const first = letters[done.indexOf(true)] ?? ''
    t.strictSame(
      keys.map((key) => ({ ...key })),
      [signingKeyOf(first)],
    )
    const ended = { ...signingKeyOf(first), signsUntil: FAR, knownUntil: FAR }
    const next = letters.map((letter) =>
      book.change({ put: [signingKeyOf(letter.toUpperCase()), ended] }, version),
    )
    t.equal((await Promise.all(next)).filter(Boolean).length, 1)
    const both = (await book.list()).keys
    t.equal(both.length, 2)
    t.match(
      both.find(({ id }) => id === ended.id),
      ended,
    )
  })
}

t.test('lists the oldest first', async (t) => {
  const book: Book = createSigningKeyBook(endWith(t, await startMemoryStore()))
  const [old, young] = [signingKeyOf('z'), { ...signingKeyOf('a'), signsFrom: FAR }]
  t.equal(await book.change({ put: [young, old] }, 0), true)
  t.same(
    (await book.list()).keys.map(({ id }) => id),
    [old.id, young.id],
  )
})

t.test('writes all or nothing', async (t) => {
  const store = endWith(t, await startMemoryStore())
  const book: Book = createSigningKeyBook(store)
  const broken = { ...signingKeyOf('b'), publicKey: { kty: 'EC', crv: 'P-256', x: 'short', y: '' } }
  await t.rejects(book.change({ put: [signingKeyOf('a'), broken] }, 0), { code: 'api_record_invalid' })
  t.same(await book.list(), { keys: [], version: 0 })
})

t.test('leaves out a key that breaks a rule', async (t) => {
  const store = endWith(t, await startMemoryStore())
  const book: Book = createSigningKeyBook(store)
  await store.put('signing-key/x', { id: 'x' })
  t.same(await book.list(), { keys: [], version: 0 })
})

t.test('says it when the store is away', async (t) => {
  const store = endWith(t, await startMemoryStore())
  const book: Book = createSigningKeyBook(store)
  await store[Symbol.asyncDispose]()
  await t.rejects(book.list(), { code: 'store_closed' })
  await t.rejects(book.change({ put: [signingKeyOf('a')] }, 0), { code: 'store_closed' })
})
