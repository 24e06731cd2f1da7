/** Rotation in a fleet: one key signs at a time, everybody knows it beforehand, and what it signed counts to its end. */

import t from 'tap'
import type { Access } from '../../../auth/access.ts'
import { JWKS_MAX_AGE_S } from '../../../auth/signing/key-rotation.ts'
import { type SigningKeys, startSigningKeys } from '../../../auth/signing/signing-keys.ts'
import { createSealer } from '../../../lib/seal.ts'
import { createSigningKeyBook } from '../../../routing/access/signing-key-book.ts'
import { SIGNING_KEYS } from '../../../routing/records/record-kinds.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { until } from '../../helpers/until.ts'
import {
  createClock,
  DAY_MS,
  demandOf,
  edgeFor,
  HOST,
  HOUR_MS,
  ISSUER,
  idsOf,
  kidOf,
  SECRET,
  storeFor,
} from './edges.ts'

const COOKIE = { kind: 'cookie', audience: HOST } as const

function publishedBy(keys: SigningKeys): readonly (string | undefined)[] {
  return keys.jwks().keys.map(({ kid }) => kid)
}

t.test('edges that start at once with an empty store sign with one key at once', async (t) => {
  const [store, clock] = [await storeFor(t), createClock()]
  const edges = await Promise.all(Array.from({ length: 5 }, () => edgeFor(t, { store, clock })))
  const tokens = await Promise.all(edges.map(({ keys }) => keys.sign(demandOf(clock))))
  t.equal(new Set(tokens.map(kidOf)).size, 1)
  t.equal((await store.list(SIGNING_KEYS.prefix)).documents.length, 1)
  for (const { keys } of edges) {
    for (const token of tokens) t.match(await keys.verify(token, COOKIE), { sub: 'user-1' })
  }
})

t.test(
  'a year: the next key is published long before it signs, and old tokens count to their end',
  async (t) => {
    const [store, clock] = [await storeFor(t), createClock()]
    const tokenDays = 30
    const [one, other] = await Promise.all([
      edgeFor(t, { store, clock, tokenDays }),
      edgeFor(t, { store, clock, tokenDays }),
    ])
    const start = clock.ms
    const publishedSince = new Map<unknown, number>(publishedBy(one.keys).map((kid) => [kid, -Infinity]))
    const signing = new Set<string>()
    const living: { readonly token: string; readonly expMs: number }[] = []
    let maxPublished = 0
    for (let step = 0; step < 365 * 4; step += 1) {
      clock.ms = start + step * 6 * HOUR_MS
      await Promise.all([one.keys.rotate(), other.keys.rotate()])
      await until(
        () => one.access.listSigningKeys().length === other.access.listSigningKeys().length,
        'both know',
      )
      const published = publishedBy(one.keys)
      if (JSON.stringify(published) !== JSON.stringify(publishedBy(other.keys)))
        t.fail('edges publish different keys')
      maxPublished = Math.max(maxPublished, published.length)
      for (const kid of published) if (!publishedSince.has(kid)) publishedSince.set(kid, clock.ms)
      const expiresAt = clock.ms / 1_000 + tokenDays * 86_400
      const tokens = await Promise.all(
        [one, other].map(({ keys }) => keys.sign(demandOf(clock, { expiresAt }))),
      )
      const [kid = '', ...others] = new Set(tokens.map(kidOf))
      if (others.length > 0) t.fail('two keys sign')
      const published0 = publishedSince.get(kid) ?? Infinity
      if (!signing.has(kid) && clock.ms - published0 < DAY_MS - 6 * HOUR_MS) t.fail(`${kid} signs too early`)
      signing.add(kid)
      if (step % 8 === 0) living.push({ token: tokens[0] ?? '', expMs: expiresAt * 1_000 })
      while ((living[0]?.expMs ?? Infinity) <= clock.ms) living.shift()
      const oldest = living[0]
      if (oldest) await other.keys.verify(oldest.token, COOKIE)
    }
    t.equal(signing.size, Math.ceil(365 / 42), 'a new key every 42 days')
    t.ok(maxPublished <= 3, 'keys leave when nothing that they signed counts')
    t.equal(
      idsOf(one.access.listSigningKeys()).length,
      (await store.list(SIGNING_KEYS.prefix)).documents.length,
    )
  },
)

t.test('an edge that hears of keys late is never given a token that it cannot check', async (t) => {
  const [store, clock] = [await storeFor(t), createClock()]
  const quick = await edgeFor(t, { store, clock })
  let seen = { version: 0, rows: quick.access.listSigningKeys() }
  const access: Pick<Access, 'version' | 'findSigningKey' | 'listSigningKeys' | 'onChange'> = {
    get version() {
      return seen.version
    },
    findSigningKey: (id) => seen.rows.find((row) => row.id === id),
    listSigningKeys: () => seen.rows,
    onChange: () => () => {},
  }
  const book = createSigningKeyBook(store)
  const deps = { access, book, sealer: createSealer(SECRET), log: createListLog() }
  const now = () => clock.ms
  const late = await startSigningKeys(deps, { issuer: ISSUER, keyDays: 42, tokenDays: 365, now })
  t.teardown(() => late[Symbol.asyncDispose]())
  const kids = new Set<string>()
  for (let step = 0; step < 200; step += 1) {
    clock.ms += 12 * HOUR_MS
    await Promise.all([quick.keys.rotate(), late.rotate()])
    const [fromQuick, fromLate] = [await quick.keys.sign(demandOf(clock)), await late.sign(demandOf(clock))]
    await late.verify(fromQuick, COOKIE)
    await quick.keys.verify(fromLate, COOKIE)
    kids.add(kidOf(fromQuick))
    // Told twelve hours late, which is less than the day of overlap.
    seen = { version: seen.version + 1, rows: quick.access.listSigningKeys() }
  }
  t.equal(kids.size, 3)
})

t.test(
  'a fleet that was switched off for a year goes on with its old key until the next one is known',
  async (t) => {
    const [store, clock] = [await storeFor(t), createClock()]
    const first = await edgeFor(t, { store, clock })
    const old = kidOf(await first.keys.sign(demandOf(clock)))
    clock.ms += 365 * DAY_MS
    const second = await edgeFor(t, { store, clock })
    t.equal(kidOf(await second.keys.sign(demandOf(clock))), old)
    await until(() => second.access.listSigningKeys().length === 2, 'two keys')
    clock.ms += DAY_MS - 1
    t.equal(publishedBy(second.keys).length, 2)
    t.equal(kidOf(await second.keys.sign(demandOf(clock))), old)
    clock.ms += 1
    t.not(kidOf(await second.keys.sign(demandOf(clock))), old)
  },
)

t.test(
  'a key that is deleted in an emergency is replaced at once, and what it signed does not count',
  async (t) => {
    const [store, clock] = [await storeFor(t), createClock()]
    const { keys, access } = await edgeFor(t, { store, clock })
    const token = await keys.sign(demandOf(clock))
    await store.delete(SIGNING_KEYS.prefix + kidOf(token))
    await until(() => access.listSigningKeys().length === 0, 'deleted')
    t.same(keys.jwks(), { keys: [] })
    await t.rejects(keys.verify(token, COOKIE), { code: 'auth_invalid', reason: 'unknown-kid' })
    await t.rejects(keys.sign(demandOf(clock)), { code: 'auth_stale', reason: 'no-signing-key' })
    await keys.rotate()
    await until(() => access.listSigningKeys().length === 1, 'a new one')
    await keys.verify(await keys.sign(demandOf(clock)), COOKIE)
  },
)

t.test('the next key deleted in an emergency: the present one signs to its end', async (t) => {
  const [store, clock] = [await storeFor(t), createClock()]
  const { keys, access } = await edgeFor(t, { store, clock })
  const present = kidOf(await keys.sign(demandOf(clock)))
  clock.ms += 41.5 * DAY_MS
  await keys.rotate()
  await until(() => access.listSigningKeys().length === 2, 'the next one')
  const next = idsOf(access.listSigningKeys()).find((id) => id !== present) ?? ''
  await store.delete(SIGNING_KEYS.prefix + next)
  await until(() => access.listSigningKeys().length === 1, 'deleted')
  await keys.rotate()
  await until(() => access.listSigningKeys().length === 2, 'another next one')
  t.equal(kidOf(await keys.sign(demandOf(clock))), present)
  clock.ms += DAY_MS
  t.notOk([present, next].includes(kidOf(await keys.sign(demandOf(clock)))))
})

t.test('a short-lived key is published for an hour at least, longer than anybody keeps a copy', async (t) => {
  const [store, clock] = [await storeFor(t), createClock()]
  const { keys, access } = await edgeFor(t, { store, clock, keyDays: 1 / 24 })
  const present = kidOf(await keys.sign(demandOf(clock)))
  await keys.rotate()
  await until(() => access.listSigningKeys().length === 2, 'the next one')
  const turn = access.listSigningKeys().find(({ id }) => id !== present)
  t.equal(Date.parse(turn?.signsFrom ?? '') - clock.ms, HOUR_MS)
  t.ok(JWKS_MAX_AGE_S * 1_000 < HOUR_MS)
})
