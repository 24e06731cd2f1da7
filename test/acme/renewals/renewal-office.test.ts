/** Renewals: who is asked when, which moment is chosen, and what is left alone. */

import t from 'tap'
import type { OrderRow } from '../../../acme/rows.ts'
import { until } from '../../helpers/until.ts'
import { DAY_MS, DOMAIN, HOUR_MS, orderedFor, renewalSceneFor, START_MS, sweepsOf } from './renewal-scene.ts'

/** A renewal that is under way. */
function rowOf(name: string): OrderRow {
  return {
    ...{ name, names: [name], keyType: 'ec', state: 'answered', cause: 'renewal', failures: 0 },
    createdAt: new Date(START_MS).toISOString(),
  }
}

t.test('wants the platform when it is missing, in each key type, and nothing more', async (t) => {
  const scene = await renewalSceneFor(t)
  scene.start({ keyTypes: ['ec', 'rsa'] })
  await until(() => scene.wanted.length >= 2, 'the platform is wanted')
  const names = [DOMAIN, `*.${DOMAIN}`]
  t.same(scene.wanted.slice(0, 2), [
    { name: DOMAIN, names, keyType: 'ec', cause: 'platform' },
    { name: DOMAIN, names, keyType: 'rsa', cause: 'platform' },
  ])
})

t.test('wants nothing at a restart where everything is there', async (t) => {
  const scene = await renewalSceneFor(t)
  await scene.addPlatform()
  await scene.add('www.customer.example')
  const renewals = scene.start()
  await until(() => scene.renewalOf('www.customer.example')?.askAtMs !== START_MS, 'it was looked at')
  await renewals[Symbol.asyncDispose]()
  t.same(scene.wanted, [])
})

t.test(
  'renews after two thirds of the life where the authority has no windows, and asks twice a day',
  async (t) => {
    const scene = await renewalSceneFor(t, { hasRenewalInfo: false })
    await scene.addPlatform()
    await scene.add('www.customer.example')
    scene.start({ random: () => 0.5 })
    await until(() => scene.renewalOf('www.customer.example')?.askAtMs !== START_MS, 'it was asked')
    t.equal(scene.renewalOf('www.customer.example')?.askAtMs, START_MS + 12 * HOUR_MS)
    t.equal(scene.renewalOf('www.customer.example')?.renewAtMs, START_MS + 60 * DAY_MS)
    scene.clock.nowMs = START_MS + 60 * DAY_MS - 1
    // The first says that it has passed before it wants anything.
    for (const _ of [1, 2]) await sweepsOf(scene)
    t.same(scene.wanted, [])
    scene.clock.nowMs += 1
    await until(() => scene.wanted.length >= 2, 'both are wanted')
    t.match(scene.wanted[0], { name: DOMAIN, cause: 'renewal' }, 'the platform comes first')
    t.match(scene.wanted[1], {
      name: 'www.customer.example',
      names: ['www.customer.example'],
      cause: 'renewal',
    })
  },
)

t.test(
  'takes a moment in the window, keeps it while the window stays, and asks when it is told to',
  async (t) => {
    const scene = await renewalSceneFor(t, { hasRenewalInfo: true })
    const { small, books, table } = scene
    const row = await orderedFor(scene, 'www.customer.example')
    await books.certificates.put(row, undefined)
    await until(() => table.get(row.name, 'ec') !== undefined, 'it is known')
    let chance = 0.25
    scene.start({ random: () => chance })
    await until(() => scene.renewalOf(row.name)?.windowStartMs !== undefined, 'the window is known')
    const first = scene.renewalOf(row.name)
    const { windowStartMs = 0, windowEndMs = 0, renewAtMs, askAtMs } = first ?? {}
    t.equal(renewAtMs, windowStartMs + (windowEndMs - windowStartMs) / 4)
    t.ok(Number(askAtMs) - START_MS >= 60_000 && Number(askAtMs) - START_MS <= DAY_MS)
    const asked = scene.asked()
    chance = 0.75
    scene.clock.nowMs = Number(askAtMs)
    await until(() => scene.asked() > asked, 'it is asked again')
    await until(() => scene.renewalOf(row.name)?.askAtMs !== askAtMs, 'the answer is kept')
    t.equal(scene.renewalOf(row.name)?.renewAtMs, renewAtMs, 'the moment stays')
    t.equal(scene.wanted.filter(({ cause }) => cause === 'renewal').length, 0)
    small.revoke(small.issued[0]?.certId ?? '')
    scene.clock.nowMs = Number(scene.renewalOf(row.name)?.askAtMs)
    await until(() => scene.wanted.some(({ cause }) => cause === 'renewal'), 'it is replaced at once')
    t.equal(scene.renewalOf(row.name)?.reason, 'window')
  },
)

t.test('replaces at once what was revoked', async (t) => {
  const scene = await renewalSceneFor(t)
  await scene.addPlatform()
  const name = 'www.customer.example'
  await scene.add(name)
  await scene.start().hurry(name, 'ec')
  await until(() => scene.wanted.some((demand) => demand.name === name), 'it is wanted')
  await until(() => scene.renewalOf(name)?.reason === 'revoked', 'the reason is kept')
})

t.test('what was revoked does not wait for the next try of a renewal that failed', async (t) => {
  const scene = await renewalSceneFor(t)
  await scene.addPlatform()
  const name = 'www.customer.example'
  await scene.add(name)
  const order = {
    ...rowOf(name),
    state: 'failed',
    nextTryAt: new Date(START_MS + DAY_MS).toISOString(),
  } as const
  await scene.books.orders.put(order, 0)
  await until(() => scene.table.findOrder(name, 'ec') !== undefined, 'the order is known')
  await scene.start().hurry(name, 'ec')
  t.match(
    scene.wanted.filter((demand) => demand.name === name),
    [{ keyType: 'ec', cause: 'renewal', isUrgent: true }],
  )
})

t.test('leaves names to expire that are not served any more, and other key types', async (t) => {
  const scene = await renewalSceneFor(t)
  await scene.addPlatform()
  await scene.add('gone.customer.example')
  await scene.add('rsa.customer.example', { keyType: 'rsa' })
  await scene.add('www.customer.example')
  scene.unwanted.add('gone.customer.example')
  scene.clock.nowMs = START_MS + 100 * DAY_MS
  const renewals = scene.start()
  await until(() => scene.wanted.length >= 2, 'the others are wanted')
  await renewals[Symbol.asyncDispose]()
  t.same(new Set(scene.wanted.map(({ name }) => name)), new Set([DOMAIN, 'www.customer.example']))
})

t.test('never renews an upload, and warns once at 30, 14, 7 and 1 days before its end', async (t) => {
  const scene = await renewalSceneFor(t)
  await scene.addPlatform()
  await scene.add('mine.customer.example', { source: 'upload' })
  scene.start()
  for (const days of [31, 30, 20, 14, 7, 3, 1, 0]) {
    scene.clock.nowMs = START_MS + (90 - days) * DAY_MS
    await sweepsOf(scene)
  }
  const said = scene.warnings.filter(({ name }) => name === 'mine.customer.example').map(({ days }) => days)
  t.same(said, [30, 14, 7, 1, 0])
  t.notOk(scene.wanted.some(({ name }) => name === 'mine.customer.example'))
})

t.test('wants no more than so many renewals at a time', async (t) => {
  const scene = await renewalSceneFor(t)
  await scene.addPlatform()
  await Promise.all(Array.from({ length: 12 }, (_, index) => scene.add(`www.customer-${index}.example`)))
  for (const index of [0, 1]) await scene.books.orders.put(rowOf(`www.customer-${index}.example`), 0)
  await until(() => [...scene.table.listOrders()].length === 2, 'two are under way')
  scene.clock.nowMs = START_MS + 80 * DAY_MS
  const renewals = scene.start({ openAtOnce: 5, sweepMs: 60_000, backlogMs: 60_000 })
  await until(() => scene.wanted.length >= 3, 'some are wanted')
  await renewals[Symbol.asyncDispose]()
  t.equal(scene.wanted.length, 3)
  t.equal(scene.wanted[0]?.name, DOMAIN)
})

t.test('one edge alone looks after renewals, and another one follows it', async (t) => {
  const scene = await renewalSceneFor(t, { hasRenewalInfo: true })
  await scene.addPlatform()
  const first = scene.start()
  await until(async () => (await scene.store.findLease('hold/renewals')) !== undefined, 'the first has it')
  const token = (await scene.store.findLease('hold/renewals'))?.token ?? 0
  scene.start()
  await sweepsOf(scene)
  t.equal((await scene.store.findLease('hold/renewals'))?.token, token)
  await first[Symbol.asyncDispose]()
  await until(
    async () => ((await scene.store.findLease('hold/renewals'))?.token ?? 0) > token,
    'the second has it',
  )
})

t.test('keeps the moment and asks later when the authority does not answer', async (t) => {
  const scene = await renewalSceneFor(t, { hasRenewalInfo: true })
  await scene.addPlatform()
  const { renewAtMs } = scene.renewalOf(DOMAIN) ?? {}
  scene.small.fail('renewal-info', 'drop', Number.POSITIVE_INFINITY)
  scene.start()
  await until(() => scene.renewalOf(DOMAIN)?.askAtMs !== START_MS, 'it was asked')
  t.equal(scene.renewalOf(DOMAIN)?.renewAtMs, renewAtMs)
  t.ok(Number(scene.renewalOf(DOMAIN)?.askAtMs) >= START_MS + 0.8 * HOUR_MS)
  t.ok(scene.warnings.some(({ name }) => name === DOMAIN))
})
