/** Old records go, in small batches, by one edge at a time; everything else stays. */

import t, { type Test } from 'tap'
import { createAuditId } from '../../routing/records/audit-id.ts'
import { type RetentionSettings, startRetention } from '../../routing/retention.ts'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import type { Store } from '../../routing/store/store.ts'
import { createListLog } from '../helpers/list-log.ts'
import { until } from '../helpers/until.ts'

const NOW = Date.parse('2026-06-01T12:34:56Z')
const DAY_MS = 86_400_000

async function bedFor(t: Test) {
  const store = await startMemoryStore({ now: () => NOW })
  t.teardown(() => store[Symbol.asyncDispose]())
  return { store, log: createListLog() }
}

type Bed = Awaited<ReturnType<typeof bedFor>>

async function keysOf(store: Pick<Store, 'list'>, prefix = ''): Promise<readonly string[]> {
  return (await store.list(prefix)).documents.map(({ key }) => key)
}

/** One whole sweep. */
async function sweep(bed: Bed, settings: RetentionSettings = {}): Promise<void> {
  let asked = 0
  const acquireLease: Store['acquireLease'] = (...args) => {
    asked += 1
    return bed.store.acquireLease(...args)
  }
  const store = { ...boundOf(bed.store), acquireLease }
  const retention = startRetention({ ...bed, store }, { pauseMs: 1, sweepMs: 1, now: () => NOW, ...settings })
  await until(() => asked > 1, 'the second sweep begins')
  await retention[Symbol.asyncDispose]()
}

function boundOf(store: Store) {
  return {
    get: store.get.bind(store),
    commit: store.commit.bind(store),
    list: store.list.bind(store),
    acquireLease: store.acquireLease.bind(store),
    releaseLease: store.releaseLease.bind(store),
  }
}

function daysAgo(days: number): Date {
  return new Date(NOW - days * DAY_MS)
}

function hourOf(moment: Date): string {
  return `${moment.toISOString().slice(0, 13)}:00:00.000Z`
}

t.test('audit records are kept for as long as they shall be', async (t) => {
  const bed = await bedFor(t)
  const kept = [0, 1, 29, 29.99].map((days) => `audit/${createAuditId(daysAgo(days))}`)
  const old = [30.01, 31, 90, 5_000].map((days) => `audit/${createAuditId(daysAgo(days))}`)
  for (const key of [...kept, ...old]) await bed.store.put(key, {})
  await sweep(bed, { auditDays: 30 })
  t.strictSame(await keysOf(bed.store), kept.toSorted())
  t.match(bed.log.lines, [{ level: 'info', deleted: 4 }])
})

t.test('90 days of audit and 400 of usage are kept by default', async (t) => {
  const bed = await bedFor(t)
  const kept = [`audit/${createAuditId(daysAgo(89))}`, `usage/web/${hourOf(daysAgo(399))}/e1`]
  const old = [`audit/${createAuditId(daysAgo(91))}`, `usage/web/${hourOf(daysAgo(401))}/e1`]
  for (const key of [...kept, ...old]) await bed.store.put(key, {})
  await sweep(bed)
  t.strictSame(await keysOf(bed.store), kept)
})

t.test('usage goes pool by pool, whatever the pools are called', async (t) => {
  const bed = await bedFor(t)
  const pools = ['a', 'a-b', 'a0', 'b', 'web', 'web-2', 'x--y', 'z']
  const [oldHour, newHour] = [hourOf(daysAgo(41)), hourOf(daysAgo(39))]
  for (const pool of pools)
    for (const hour of [oldHour, newHour])
      for (const source of ['e1', 'e2']) await bed.store.put(`usage/${pool}/${hour}/${source}`, {})
  await sweep(bed, { usageDays: 40 })
  const left = await keysOf(bed.store)
  t.equal(left.length, pools.length * 2)
  t.ok(left.every((key) => key.includes(newHour)))
})

t.test('does not read the usage that is kept', async (t) => {
  const bed = await bedFor(t)
  const hours = Array.from({ length: 900 }, (_, n) => hourOf(daysAgo(n / 24)))
  for (const pool of ['db', 'web'])
    await bed.store.commit(hours.map((hour) => ({ key: `usage/${pool}/${hour}/e1`, value: {} })))
  let read = 0
  const list: Store['list'] = async (...args) => {
    const page = await bed.store.list(...args)
    read += page.documents.length
    return page
  }
  await sweep({ ...bed, store: { ...boundOf(bed.store), list } as Store })
  t.equal((await keysOf(bed.store)).length, 1_000, 'a full page: nothing is gone')
  t.ok(read < 20, `${read} records were read`)
})

t.test('answers for an Idempotency-Key go after a day, also those that nobody can read', async (t) => {
  const bed = await bedFor(t)
  const at = (hours: number) => ({ at: new Date(NOW - hours * 3_600_000).toISOString(), digest: 'x' })
  await bed.store.put('idempotency/abc/new', at(23.9))
  await bed.store.put('idempotency/abc/old', at(24.1))
  await bed.store.put('idempotency/bootstrap-x/older', at(1_000))
  await bed.store.put('idempotency/bootstrap-x/odd', { at: 'yesterday' })
  await sweep(bed)
  t.strictSame(await keysOf(bed.store), ['idempotency/abc/new'])
})

function ago(ms: number): string {
  return new Date(NOW - ms).toISOString()
}

t.test('login codes and mails go when they have run out', async (t) => {
  const bed = await bedFor(t)
  for (const kind of ['login-code', 'mail-login']) {
    await bed.store.put(`${kind}/alive`, { expiresAt: ago(-1) })
    await bed.store.put(`${kind}/over`, { expiresAt: ago(0) })
    await bed.store.put(`${kind}/unreadable`, { expiresAt: 7 })
  }
  await sweep(bed)
  t.strictSame(await keysOf(bed.store), [
    'login-code/alive',
    'login-code/unreadable',
    'mail-login/alive',
    'mail-login/unreadable',
  ])
})

t.test('sessions, revocations, signing keys and former owners go an hour after their end', async (t) => {
  const bed = await bedFor(t)
  for (const kind of ['former-owner', 'session', 'revocation/user', 'signing-key']) {
    const field = kind === 'signing-key' ? 'knownUntil' : 'expiresAt'
    await bed.store.put(`${kind}/alive`, { [field]: ago(3_599_999) })
    await bed.store.put(`${kind}/over`, { [field]: ago(3_600_000) })
    await bed.store.put(`${kind}/without-an-end`, { signsUntil: ago(1e9) })
  }
  await sweep(bed)
  t.strictSame(await keysOf(bed.store), [
    'former-owner/alive',
    'former-owner/without-an-end',
    'revocation/user/alive',
    'revocation/user/without-an-end',
    'session/alive',
    'session/without-an-end',
    'signing-key/alive',
    'signing-key/without-an-end',
  ])
})

t.test('codes are looked for often, and everything else once in a while', async (t) => {
  const bed = await bedFor(t)
  const prefixes: string[] = []
  const list: Store['list'] = (prefix, page) => {
    prefixes.push(prefix)
    return bed.store.list(prefix, page)
  }
  const store = { ...boundOf(bed.store), list }
  const count = (wanted: string) => prefixes.filter((prefix) => prefix === wanted).length
  const settings = { pauseMs: 1, loginSweepMs: 10, now: () => NOW }
  const seldom = startRetention({ ...bed, store }, { ...settings, sweepMs: 3_600_000 })
  await until(() => count('login-code/') >= 20, 'codes are looked for again and again')
  await seldom[Symbol.asyncDispose]()
  t.equal(count('session/'), 1)
  prefixes.length = 0
  const retention = startRetention({ ...bed, store }, { ...settings, sweepMs: 100 })
  await until(() => count('session/') >= 3, 'sessions, too')
  await retention[Symbol.asyncDispose]()
  // In every tenth sweep, the one under way at the end being whole or not.
  const [codes, sessions] = [count('login-code/'), count('session/')]
  t.ok(codes >= 10 * (sessions - 1) && codes <= 10 * sessions + 1, `${codes} and ${sessions} looks`)
})

t.test('what is taken in the midst of a sweep is left to whoever took it', async (t) => {
  const bed = await bedFor(t)
  await bed.store.put('login-code/a', { expiresAt: ago(1) })
  await bed.store.put('login-code/b', { expiresAt: ago(1) })
  let isTaken = false
  const commit: Store['commit'] = async (mutations) => {
    if (!isTaken) await bed.store.delete('login-code/a')
    isTaken = true
    return bed.store.commit(mutations)
  }
  const store = { ...boundOf(bed.store), commit }
  const retention = startRetention({ ...bed, store }, { pauseMs: 1, loginSweepMs: 5, now: () => NOW })
  t.teardown(() => retention[Symbol.asyncDispose]())
  await until(async () => (await keysOf(bed.store)).length === 0, 'the next sweep')
  t.notOk(bed.log.lines.some(({ level }) => level === 'warn'))
})

t.test('touches nothing else', async (t) => {
  const bed = await bedFor(t)
  const keys = [
    'accept/1',
    'audits',
    'auditx/0',
    'bootstrap/used',
    'pool/web',
    'route/a.test',
    'usages',
    'vm/a',
    'grant/a/g',
    'sessions',
  ].toSorted()
  const past = '1999-01-01T00:00:00Z'
  for (const key of keys) await bed.store.put(key, { at: past, expiresAt: past, knownUntil: past })
  await sweep(bed, { auditDays: 1, usageDays: 1 })
  t.strictSame(await keysOf(bed.store), keys)
})

t.test('deletes in batches of at most a hundred, with a pause after each', async (t) => {
  const bed = await bedFor(t)
  for (let n = 0; n < 250; n += 1) await bed.store.put(`audit/${createAuditId(daysAgo(100))}`, {})
  const sizes: number[] = []
  const store = {
    ...boundOf(bed.store),
    commit: (mutations: Parameters<Store['commit']>[0]) => {
      sizes.push(mutations.length)
      return bed.store.commit(mutations)
    },
  }
  const startedAt = performance.now()
  const retention = startRetention({ ...bed, store }, { pauseMs: 50, now: () => NOW })
  t.teardown(() => retention[Symbol.asyncDispose]())
  await until(() => sizes.length === 3, 'three batches')
  t.strictSame(sizes, [100, 100, 50])
  t.ok(performance.now() - startedAt >= 90)
})

t.test('disposal ends a sweep between two batches and frees the lease', async (t) => {
  const bed = await bedFor(t)
  for (let n = 0; n < 250; n += 1) await bed.store.put(`audit/${createAuditId(daysAgo(100))}`, {})
  const retention = startRetention(bed, { pauseMs: 60_000, now: () => NOW })
  await until(async () => (await keysOf(bed.store)).length < 250, 'the first batch is gone')
  t.ok(await bed.store.findLease('retention'))
  await retention[Symbol.asyncDispose]()
  t.equal((await keysOf(bed.store)).length, 150)
  t.equal(await bed.store.findLease('retention'), undefined)
})

t.test('one edge of a fleet sweeps, and another takes over when it ends', async (t) => {
  const bed = await bedFor(t)
  const sweeps: string[] = []
  const edge = (name: string) => {
    const commit: Store['commit'] = (mutations) => {
      sweeps.push(name)
      return bed.store.commit(mutations)
    }
    const store = { ...boundOf(bed.store), commit }
    return startRetention({ ...bed, store }, { pauseMs: 1, sweepMs: 10, now: () => NOW })
  }
  const one = edge('one')
  await until(async () => (await bed.store.findLease('retention')) !== undefined, 'one edge has the lease')
  const other = edge('other')
  t.teardown(() => other[Symbol.asyncDispose]())
  for (let n = 1; n <= 5; n += 1) {
    await bed.store.put(`audit/${createAuditId(daysAgo(100))}`, {})
    await until(() => sweeps.length === n, 'the record is deleted')
  }
  t.strictSame(sweeps, ['one', 'one', 'one', 'one', 'one'])
  await one[Symbol.asyncDispose]()
  await bed.store.put(`audit/${createAuditId(daysAgo(100))}`, {})
  await until(() => sweeps.at(-1) === 'other', 'the other edge deletes')
})

t.test('a store that is away is tried again at the next sweep', async (t) => {
  const bed = await bedFor(t)
  await bed.store.put(`audit/${createAuditId(daysAgo(100))}`, {})
  let isAway = true
  const store = {
    ...boundOf(bed.store),
    list: (...args: Parameters<Store['list']>) =>
      isAway ? Promise.reject(new Error('away')) : bed.store.list(...args),
  }
  const retention = startRetention({ ...bed, store }, { pauseMs: 1, sweepMs: 5, now: () => NOW })
  t.teardown(() => retention[Symbol.asyncDispose]())
  await until(() => bed.log.lines.filter(({ level }) => level === 'warn').length > 1, 'two failed sweeps')
  isAway = false
  await until(() => bed.log.lines.some(({ deleted }) => deleted === 1), 'a sweep that deletes')
})
