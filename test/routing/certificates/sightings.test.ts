/** Sightings: an edge says of each challenge that it has it, once it has it, and in the end takes its word back. */

import t, { type Test } from 'tap'
import type { CertificateTable } from '../../../acme/books.ts'
import { startCertificateTable } from '../../../routing/certificates/certificate-table.ts'
import type { Mutation, Store } from '../../../routing/store/store.ts'
import { FAST } from '../../helpers/certificate-bed.ts'
import { challengeOf, FAR, NOW } from '../../helpers/certificate-rows.ts'
import { deleteChallenges, putChallenges } from '../../helpers/challenge-writes.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { until } from '../../helpers/until.ts'
import { SwitchingStore, storeFor } from '../feed/followed-store.ts'

class WatchedStore {
  readonly switching: SwitchingStore
  readonly commits: (readonly Mutation[])[] = []
  failures = 0
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
    this.switching = new SwitchingStore(store)
  }

  get deps() {
    const { switching } = this
    return {
      get: switching.get.bind(switching),
      list: switching.list.bind(switching),
      watch: switching.watch.bind(switching),
      commit: async (mutations: readonly Mutation[]) => {
        this.commits.push(mutations)
        this.failures -= 1
        if (this.failures >= 0) throw new Error('the store is away')
        return this.#store.commit(mutations)
      },
    }
  }
}

async function bedFor(t: Test, edgeName = 'one') {
  const store = await storeFor(t)
  const log = createListLog()
  const watched = new WatchedStore(store)
  const start = async (): Promise<CertificateTable & AsyncDisposable> => {
    const table = await startCertificateTable({ store: watched.deps, log }, { ...FAST, edgeName })
    t.teardown(() => table[Symbol.asyncDispose]())
    return table
  }
  const sightings = async () => (await store.list('sighting/')).documents.map(({ key }) => key)
  const untilSighted = (...keys: readonly string[]) =>
    until(async () => (await sightings()).join() === keys.join(), `there is ${keys.join(' ')}`)
  return { store, log, watched, start, sightings, untilSighted }
}

t.test('says what it has, in few commits, and takes it back', async (t) => {
  const { store, watched, start, untilSighted, sightings } = await bedFor(t)
  await putChallenges(store, [challengeOf('early'), challengeOf('over', { expiresAt: NOW })])
  const table = await start()
  await untilSighted('sighting/early/one')
  t.ok(table.findAnswer('token-early'))
  const many = Array.from({ length: 500 }, (_, n) => challengeOf(`c${n}`))
  await putChallenges(store, many)
  await until(async () => (await sightings()).length === 501, 'all are there')
  t.ok(watched.commits.length < 10, `${watched.commits.length} commits`)
  await deleteChallenges(store, [...many.map(({ id }) => id), 'early'])
  await untilSighted()
})

t.test('says nothing without a name of its own', async (t) => {
  const { store, log, sightings } = await bedFor(t)
  const table = await startCertificateTable({ store, log }, FAST)
  t.teardown(() => table[Symbol.asyncDispose]())
  await putChallenges(store, [challengeOf('c')])
  await until(() => table.findAnswer('token-c') !== undefined, 'it has it')
  t.same(await sightings(), [])
})

t.test('says nothing of what it cannot read', async (t) => {
  const { store, start, untilSighted } = await bedFor(t)
  await start()
  await store.put('challenge/bad', { ...challengeOf('bad'), value: 'not a value' })
  await putChallenges(store, [challengeOf('good')])
  await untilSighted('sighting/good/one')
})

t.test('says again what was not written, when the store is back', async (t) => {
  const { store, watched, start, untilSighted, log } = await bedFor(t)
  await start()
  watched.failures = 3
  await putChallenges(store, [challengeOf('c')])
  await untilSighted('sighting/c/one')
  t.equal(watched.commits.length, 4)
  t.equal(log.lines.filter(({ level }) => level === 'warn').length, 1, 'and says so once')
})

t.test('after a gap in the feed it says what it has not said, and that alone', async (t) => {
  const { store, watched, start, untilSighted } = await bedFor(t)
  await putChallenges(store, [challengeOf('a'), challengeOf('b')])
  const table = await start()
  await untilSighted('sighting/a/one', 'sighting/b/one')
  watched.commits.length = 0
  watched.switching.isDeaf = true
  watched.switching.resync()
  await store.commit([
    { key: 'challenge/b', value: undefined },
    { key: 'challenge/c', value: { ...challengeOf('c') } },
  ])
  watched.switching.isDeaf = false
  await untilSighted('sighting/a/one', 'sighting/c/one')
  t.ok(table.findAnswer('token-c'))
  t.same(
    watched.commits
      .flat()
      .map(({ key }) => key)
      .sort(),
    ['sighting/b/one', 'sighting/c/one'],
  )
})

t.test('a challenge that is back by the time of the write keeps its sighting', async (t) => {
  const { store, start, untilSighted, sightings } = await bedFor(t)
  await start()
  for (let round = 0; round < 20; round += 1) {
    await putChallenges(store, [challengeOf('c', { value: `v${round}` })])
    if (round % 3 !== 0) await deleteChallenges(store, ['c'])
  }
  await putChallenges(store, [challengeOf('c', { expiresAt: FAR }), challengeOf('last')])
  await untilSighted('sighting/c/one', 'sighting/last/one')
  t.equal((await sightings()).length, 2)
})

t.test('ends while the store is away', async (t) => {
  const { store, watched, start } = await bedFor(t)
  const table = await start()
  watched.failures = Number.POSITIVE_INFINITY
  await putChallenges(store, [challengeOf('c')])
  await until(() => watched.commits.length > 1, 'it tries')
  await table[Symbol.asyncDispose]()
  const tries = watched.commits.length
  await putChallenges(store, [challengeOf('d')])
  t.equal(watched.commits.length, tries)
})
