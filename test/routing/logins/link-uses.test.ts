/** Share links in use: who gets in, who does not, and what is left of it in rows, counts and audit records. */

import t, { type Test } from 'tap'
import type { LinkUse } from '../../../auth/login/login-store.ts'
import { createLoginBook } from '../../../routing/logins/login-book.ts'
import type { GrantRecord } from '../../../routing/records/grants.ts'
import type { Store } from '../../../routing/store/store.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { redisFor } from '../../helpers/redis.ts'
import {
  grantOf,
  putBinding,
  putGrant,
  putReport,
  putVm,
  reportOf,
  rowsOf,
  vmOf,
} from '../vms/vm-documents.ts'
import { bookFor, instant, NOW, type StoreFor, storesOn } from './login-bed.ts'

const HOSTNAME = 'web.example.test'
const ADA = { user: 'u-ada', email: 'ada@example.test' }
const BOB = { user: 'u-bob' }

function linkOf(more: Partial<NonNullable<GrantRecord['link']>> = {}): GrantRecord {
  const link = { hostname: HOSTNAME, needsLogin: true, isSingleUse: false, uses: 0, ...more }
  const to = { kind: 'link', value: 'l1' } as const
  return grantOf('web', 'l1', { to, ports: [80, 8_000], expiresAt: instant(60_000), link })
}

async function bedFor(t: Test, link: GrantRecord = linkOf(), storeFor?: StoreFor) {
  const bed = await bookFor(t, storeFor)
  await putVm(bed.store, vmOf('web'))
  await putReport(bed.store, reportOf('web', [80, 8_000]))
  await putBinding(bed.store, { vm: 'web', hostname: HOSTNAME })
  await putBinding(bed.store, { vm: 'web', hostname: `8000--${HOSTNAME}`, port: 8_000 })
  await putBinding(bed.store, { vm: 'web', hostname: `9000--${HOSTNAME}`, port: 9_000 })
  await putGrant(bed.store, link)
  const use = (person?: LinkUse['person']) =>
    bed.book.useLink({ vm: 'web', id: 'l1', ...(person && { person }) })
  return { ...bed, use }
}

async function grantsOf(store: Store): Promise<readonly GrantRecord[]> {
  const { documents } = await store.list('grant/web/')
  return documents.map(({ value }) => value as unknown as GrantRecord)
}

async function auditsOf(store: Store) {
  return (await store.list('audit/')).documents.map(({ value }) => value)
}

async function usesOf(store: Store): Promise<unknown> {
  return (await grantsOf(store)).find(({ id }) => id === 'l1')?.link?.uses
}

const redis = await redisFor(t)

for (const [name, storeFor] of Object.entries(storesOn(redis))) {
  t.test(`a link for one use lets in one of many who come at once (${name})`, async (t) => {
    const { use, store } = await bedFor(t, linkOf({ isSingleUse: true }), storeFor)
    const people = Array.from({ length: 8 }, (_, n) => ({ user: `u${n}` }))
    const outcomes = await Promise.all(people.map(use))
    t.same(outcomes.toSorted(), ['let-in', ...people.slice(1).map(() => 'used')])
    const came = people[outcomes.indexOf('let-in')]?.user
    const personal = (await grantsOf(store)).filter(({ via }) => via === 'l1')
    t.match(personal, [{ to: { kind: 'user', value: came } }])
    t.equal(personal.length, 1)
    t.equal(await usesOf(store), 1)
    const { stored, fresh } = await rowsOf(store)
    t.same(stored, fresh)
  })

  t.test(`each use of many at once is counted, by few commits (${name})`, async (t) => {
    const { use, store, clock } = await bedFor(t, linkOf({ needsLogin: false }), storeFor)
    await Promise.all(Array.from({ length: 8 }, () => use()))
    t.equal(await usesOf(store), 1, 'the others wait for the next write')
    clock.ms += 10_000
    t.equal(await use(), 'let-in')
    t.equal(await usesOf(store), 9)
    t.equal((await auditsOf(store)).length, 1, 'one a minute')
  })
}

t.test('who logged in gets a grant as narrow as the link, by their address', async (t) => {
  const { use, store, log } = await bedFor(t)
  t.equal(await use(ADA), 'let-in')
  const [personal] = (await grantsOf(store)).filter(({ id }) => id !== 'l1')
  const { id, ...rest } = personal ?? {}
  t.match(id, /^[A-Za-z0-9_-]{12}$/)
  t.strictSame(rest, {
    vm: 'web',
    to: { kind: 'email', value: ADA.email },
    ports: [80, 8_000],
    role: 'viewer',
    expiresAt: instant(60_000),
    via: 'l1',
    createdAt: instant(0),
    createdBy: 'link:l1',
  })
  const { stored, fresh } = await rowsOf(store)
  t.same(stored, fresh)
  const lets = (hostname: string) => stored[hostname] && JSON.stringify(stored[hostname]).includes(ADA.email)
  t.equal(lets(HOSTNAME), true)
  t.equal(lets(`8000--${HOSTNAME}`), true)
  t.equal(lets(`9000--${HOSTNAME}`), false)
  t.match(await auditsOf(store), [
    { who: 'link:l1', action: 'create', key: `grant/web/${id}`, pool: 'default', requestId: '' },
  ])
  t.match(log.lines.at(-1), { level: 'info', vm: 'web', link: 'l1', user: ADA.user, outcome: 'let-in' })
})

t.test('who has no proven address gets in by their id, and never as root', async (t) => {
  const { use, store } = await bedFor(t, { ...linkOf(), role: 'root' })
  t.equal(await use(BOB), 'let-in')
  const personal = (await grantsOf(store)).find(({ id }) => id !== 'l1')
  t.match(personal, { to: { kind: 'user', value: BOB.user }, role: 'viewer' })
})

t.test('who is in already takes nobody a place', async (t) => {
  const { use, store } = await bedFor(t, linkOf({ isSingleUse: true }))
  await putGrant(store, grantOf('web', 'own', { to: { kind: 'user', value: BOB.user }, ports: [80, 8_000] }))
  t.equal(await use(BOB), 'let-in')
  t.equal(await usesOf(store), 0)
  t.equal(await use(ADA), 'let-in')
  t.equal(await use(ADA), 'let-in', 'again')
  t.equal(await usesOf(store), 1)
  t.equal(await use({ user: 'u-eve' }), 'used')
  t.equal((await grantsOf(store)).length, 3)
})

t.test('a grant for other ports, or for less time, is not enough', async (t) => {
  const { use, store } = await bedFor(t)
  const to = { kind: 'user', value: BOB.user } as const
  await putGrant(store, grantOf('web', 'own-1', { to }))
  await putGrant(store, grantOf('web', 'own-2', { to, ports: [80, 8_000], expiresAt: instant(59_999) }))
  t.equal(await use(BOB), 'let-in')
  t.equal((await grantsOf(store)).filter(({ via }) => via === 'l1').length, 1)
})

t.test('a link without login writes down a use a minute', async (t) => {
  const { use, store, clock } = await bedFor(t, {
    ...linkOf({ needsLogin: false }),
    expiresAt: instant(600_000),
  })
  for (const _ of [1, 2, 3, 4]) {
    t.equal(await use(), 'let-in')
    clock.ms += 30_000
  }
  t.equal(await usesOf(store), 4)
  t.equal((await grantsOf(store)).length, 1)
  const audit = { who: 'link:l1', action: 'update', key: 'grant/web/l1' }
  t.match(await auditsOf(store), [audit, audit])
  t.equal((await auditsOf(store)).length, 2)
})

t.test('tells what a link is good for', async (t) => {
  const cases = [
    ['open', linkOf()],
    ['gone', linkOf({ closedAt: instant(-1) })],
    ['gone', { ...linkOf(), expiresAt: instant(0) }],
    ['used', linkOf({ isSingleUse: true, uses: 1 })],
  ] as const
  for (const [state, link] of cases) {
    const { store } = await bedFor(t, link)
    const book = createLoginBook({ store, log: createListLog(), now: () => new Date(NOW) })
    t.equal(await book.findLink('web', 'l1'), state)
    t.equal(await book.findLink('web', 'l2'), 'gone')
    t.equal(await book.findLink('none', 'l1'), 'gone')
  }
})

t.test('grants that ran out take nobody the place', async (t) => {
  const { use, store } = await bedFor(t)
  for (let n = 0; n < 99; n += 1) {
    const to = { kind: 'user', value: `u${n}` } as const
    await putGrant(store, grantOf('web', `old-${n}`, { to, expiresAt: instant(-1) }))
  }
  t.equal(await use(BOB), 'let-in')
  t.equal((await grantsOf(store)).length, 2, 'they are deleted where the place is needed')
  t.equal((await auditsOf(store)).filter(({ action }) => action === 'delete').length, 99)
  const { stored, fresh } = await rowsOf(store)
  t.same(stored, fresh)
})

t.test('a link without login for one use works once, and its grant stays', async (t) => {
  const { use, store } = await bedFor(t, linkOf({ needsLogin: false, isSingleUse: true }))
  t.equal(await use(), 'let-in')
  t.equal(await use(), 'used')
  t.match((await rowsOf(store)).stored[HOSTNAME], { grants: [{ id: 'l1' }] })
})

t.test('lets nobody in, and writes nothing, when it may not', async (t) => {
  const refused: readonly (readonly [string, GrantRecord])[] = [
    ['gone', linkOf({ closedAt: instant(-1) })],
    ['gone', { ...linkOf(), expiresAt: instant(0) }],
    ['used', linkOf({ isSingleUse: true, uses: 1 })],
    ['gone', grantOf('web', 'l1')],
  ]
  for (const [outcome, link] of refused) {
    const { use, store } = await bedFor(t, link)
    const before = (await store.list('')).revision
    t.equal(await use(ADA), outcome)
    t.equal((await store.list('')).revision, before)
  }
  const { use, book, store } = await bedFor(t)
  t.equal(await use(), 'needs-login')
  t.equal(await book.useLink({ vm: 'web', id: 'other', person: ADA }), 'gone')
  t.equal(await book.useLink({ vm: 'none', id: 'l1', person: ADA }), 'gone')
  t.same(await auditsOf(store), [])
})

t.test('closing a link or its end lets nobody in from then on', async (t) => {
  const { use, clock, store } = await bedFor(t)
  t.equal(await use(ADA), 'let-in')
  clock.ms = NOW + 60_000
  t.equal(await use(BOB), 'gone')
  clock.ms = NOW
  await putGrant(store, linkOf(), 'gone')
  t.equal(await use(BOB), 'gone')
})

t.test('says that the VM can have no more grants', async (t) => {
  const { use, store } = await bedFor(t)
  for (let n = 1; n < 100; n += 1) {
    await putGrant(store, grantOf('web', `g${n}`, { to: { kind: 'user', value: 'x' }, ports: [n] }))
  }
  t.equal(await use(ADA), 'full')
  await putGrant(store, grantOf('web', 'g1'), 'gone')
  t.equal(await use(ADA), 'let-in')
  t.equal(await use(BOB), 'full')
})

t.test('says that the VM has no room for the grant in its rows', async (t) => {
  const { use, store } = await bedFor(t)
  for (let n = 1; n < 40; n += 1) {
    const to = { kind: 'user', value: `${n}${'x'.repeat(250)}` } as const
    await putGrant(store, grantOf('web', `g${n}`, { to, ports: [80] }))
  }
  const before = (await store.list('')).revision
  t.equal(await use({ user: 'u'.repeat(254) }), 'full')
  t.equal((await store.list('')).revision, before)
})
