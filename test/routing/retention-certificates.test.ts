/** What is left of certificates goes: challenges, sightings, keys of tickets, full budgets, and names that lead nowhere. */

import t, { type Test } from 'tap'
import { type RetentionSettings, startRetention } from '../../routing/retention.ts'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import type { Document, Store } from '../../routing/store/store.ts'
import { certificateOf, challengeOf, orderOf, renewalOf, ticketKeyOf } from '../helpers/certificate-rows.ts'
import { createListLog } from '../helpers/list-log.ts'
import { until } from '../helpers/until.ts'

const NOW = Date.parse('2026-06-01T12:34:56Z')
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

const at = (ms: number) => new Date(NOW + ms).toISOString()

async function storeFor(t: Test, documents: Readonly<Record<string, object>> = {}): Promise<Store> {
  const store = await startMemoryStore({ now: () => NOW })
  t.teardown(() => store[Symbol.asyncDispose]())
  for (const [key, value] of Object.entries(documents)) await store.put(key, { ...value } as Document)
  return store
}

async function keysOf(store: Store): Promise<readonly string[]> {
  return (await store.list('')).documents.map(({ key }) => key)
}

/** One whole sweep. */
async function sweep(store: Store, settings: RetentionSettings = {}): Promise<void> {
  let asked = 0
  const acquireLease: Store['acquireLease'] = (...args) => {
    asked += 1
    return store.acquireLease(...args)
  }
  const watched = {
    ...{ get: store.get.bind(store), list: store.list.bind(store), commit: store.commit.bind(store) },
    acquireLease,
    releaseLease: store.releaseLease.bind(store),
  }
  const retention = startRetention(
    { store: watched, log: createListLog() },
    { pauseMs: 1, sweepMs: 1, now: () => NOW, ...settings },
  )
  await until(() => asked > 1, 'the second sweep begins')
  await retention[Symbol.asyncDispose]()
}

t.test('challenges and sightings go when they have run out', async (t) => {
  const sightingOf = (challenge: string, expiresAt: string) => ({ challenge, edge: 'one', expiresAt })
  const store = await storeFor(t, {
    'challenge/new': challengeOf('new', { expiresAt: at(1_000) }),
    'challenge/old': challengeOf('old', { expiresAt: at(-1_000) }),
    'sighting/new/one': sightingOf('new', at(1_000)),
    'sighting/old/one': sightingOf('old', at(-1_000)),
    'sighting/lost/one': sightingOf('lost', at(HOUR_MS)),
    'sighting/lost/two': { odd: true },
  })
  await sweep(store)
  t.same(await keysOf(store), ['challenge/new', 'sighting/new/one'])
})

t.test('keys of tickets go an hour after their end, and budgets when they are full', async (t) => {
  const budgetOf = (subject: string, ms: number) => ({ limit: 'set', subject, fullAt: at(ms) })
  const store = await storeFor(t, {
    'ticket-key/new': ticketKeyOf('new', { knownUntil: at(-HOUR_MS + 1_000) }),
    'ticket-key/old': ticketKeyOf('old', { knownUntil: at(-HOUR_MS - 1_000) }),
    'acme-budget/set/low': budgetOf('low', 1_000),
    'acme-budget/set/full': budgetOf('full', -2 * HOUR_MS),
  })
  await sweep(store)
  t.same(await keysOf(store), ['acme-budget/set/low', 'ticket-key/new'])
})

const GONE = 'gone.example'

function namesOf(name: string): Readonly<Record<string, object>> {
  const row = certificateOf(name)
  return {
    [`certificate/${name}/ec`]: row,
    [`certificate/${name}/rsa`]: certificateOf(name, { keyType: 'rsa', source: 'upload' }),
    [`renewal/${name}/ec`]: renewalOf(row),
    [`order/${name}/ec`]: orderOf(name, { state: 'failed' }),
  }
}

t.test('a name that has led nowhere for a week loses what is kept of it', async (t) => {
  const marked = { [`unserved/${GONE}`]: { name: GONE, at: at(-7 * DAY_MS) } }
  const store = await storeFor(t, { ...namesOf(GONE), ...marked })
  await sweep(store, { domain: 'example.test' })
  t.same(await keysOf(store), [])
})

t.test('it is kept for that week, which begins when it is seen first', async (t) => {
  const store = await storeFor(t, namesOf(GONE))
  await sweep(store, { domain: 'example.test' })
  t.same((await store.get(`unserved/${GONE}`))?.value, { name: GONE, at: at(0) })
  await sweep(store, { domain: 'example.test', now: () => NOW + 7 * DAY_MS - 1_000 })
  t.ok(await store.get(`certificate/${GONE}/ec`))
  await sweep(store, { domain: 'example.test', now: () => NOW + 7 * DAY_MS })
  t.same(await keysOf(store), [])
})

t.test('the mark of a name of which nothing is left goes after that week', async (t) => {
  const store = await storeFor(t, {
    'unserved/new.example': { name: 'new.example', at: at(-7 * DAY_MS + 1_000) },
    'unserved/old.example': { name: 'old.example', at: at(-7 * DAY_MS) },
  })
  await sweep(store, { domain: 'example.test' })
  t.same(await keysOf(store), ['unserved/new.example'])
})

t.test('a name that has a row or a domain again is kept', async (t) => {
  for (const kind of ['route', 'domain']) {
    const marked = { [`unserved/${GONE}`]: { name: GONE, at: at(-100 * DAY_MS) } }
    const store = await storeFor(t, { ...namesOf(GONE), ...marked, [`${kind}/${GONE}`]: { odd: true } })
    await sweep(store, { domain: 'example.test' })
    t.same((await keysOf(store)).length, 5)
    t.equal(await store.get(`unserved/${GONE}`), undefined)
  }
})

t.test('one that is served again in the moment of its deletion is kept', async (t) => {
  const marked = { [`unserved/${GONE}`]: { name: GONE, at: at(-100 * DAY_MS) } }
  const store = await storeFor(t, { ...namesOf(GONE), ...marked })
  const commit: Store['commit'] = async (mutations) => {
    if (mutations.some(({ isCheck }) => isCheck)) await store.put(`domain/${GONE}`, { odd: true })
    return store.commit(mutations)
  }
  await sweep({ ...boundOf(store), commit } as Store, { domain: 'example.test' })
  t.ok(await store.get(`certificate/${GONE}/ec`))
})

function boundOf(store: Store) {
  return {
    ...{ get: store.get.bind(store), list: store.list.bind(store), commit: store.commit.bind(store) },
    acquireLease: store.acquireLease.bind(store),
    releaseLease: store.releaseLease.bind(store),
  }
}

t.test('names of the platform are kept, and all when nobody says which these are', async (t) => {
  const own = { ...namesOf('example.test'), ...namesOf('app.example.test') }
  const store = await storeFor(t, own)
  for (const days of [0, 100]) await sweep(store, { domain: 'example.test', now: () => NOW + days * DAY_MS })
  t.equal((await keysOf(store)).length, 8)
  for (const days of [0, 100]) await sweep(store, { now: () => NOW + days * DAY_MS })
  t.equal((await keysOf(store)).length, 8)
})

t.test('many names are looked at over several sweeps', async (t) => {
  const store = await storeFor(t)
  const names = Array.from({ length: 6_000 }, (_, n) => `n${n}.example`)
  for (let start = 0; start < names.length; start += 1_000) {
    const page = names.slice(start, start + 1_000)
    await store.commit(page.map((name) => ({ key: `certificate/${name}/ec`, value: {} })))
  }
  const marks = async () => {
    let count = 0
    for (let after: string | undefined = ''; after !== undefined; ) {
      const page = await store.list('unserved/', { after })
      count += page.documents.length
      after = page.next
    }
    return count
  }
  const log = createListLog()
  const retention = startRetention(
    { store, log },
    { pauseMs: 0, sweepMs: 1, loginSweepMs: 1, domain: 'example.test', now: () => NOW },
  )
  await until(async () => (await marks()) >= 5_000, 'the first sweep is done')
  await until(async () => (await marks()) === 6_000, 'the second one has the rest')
  await retention[Symbol.asyncDispose]()
  t.same(log.lines, [])
})
