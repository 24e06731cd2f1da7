/** What an order does when DNS, a budget or an authority says no: who is asked next, and when. */

import t from 'tap'
import { problem } from '../../helpers/small-ca.ts'
import { until } from '../../helpers/until.ts'
import { demandOf, LIMITS, type OrderScene, orderSceneFor, type SceneEdge } from './order-scene.ts'

const NAME = 'www.customer.example'
const HOUR_MS = 3_600_000
/** Longer than a test. */
const LONG = { backOffMs: [HOUR_MS] }

async function failureOf(scene: OrderScene, edge: SceneEdge, name = NAME) {
  await until(() => edge.table.findOrder(name, 'ec')?.state === 'failed', 'the order has failed')
  const kept = await scene.books.orders.find(name, 'ec')
  if (kept === undefined) throw new Error('no order')
  const waitMs = Date.parse(kept.row.nextTryAt ?? '') - Date.now()
  return { ...kept.row, waitMs }
}

for (const step of ['dns', 'caa'] as const) {
  t.test(`asks no authority and spends nothing when ${step} is wrong`, async (t) => {
    const scene = await orderSceneFor(t)
    scene.check = () => ({ types: [], steps: [{ step, state: 'wrong', detail: 'it leads elsewhere' }] })
    const edge = await scene.startEdge('one', LONG)
    await edge.orders.want(demandOf(NAME))
    const row = await failureOf(scene, edge)
    t.match(row, { failures: 1, lastError: { code: `certificate_${step}`, detail: 'it leads elsewhere' } })
    t.ok(row.waitMs > 0.75 * HOUR_MS && row.waitMs < 1.25 * HOUR_MS)
    t.same((await scene.store.list('acme-budget/')).documents, [])
    t.same(scene.cas[0]?.orders, [])
    t.equal((await scene.store.list('challenge/')).documents.length, 0)
  })
}

t.test('asks nobody about a name of very many labels', async (t) => {
  const scene = await orderSceneFor(t)
  const edge = await scene.startEdge('one', LONG)
  const name = `${'a.'.repeat(7)}example`
  const deep = `a.${name}`
  for (const one of [name, deep]) await edge.orders.want(demandOf(one))
  await scene.issued(edge, name)
  const row = await failureOf(scene, edge, deep)
  t.match(row.lastError, { code: 'certificate_dns', detail: /8 labels/ })
  t.notOk(scene.demands.some(({ names }) => names.includes(deep)))
})

t.test('waits longer after each failure, and an operator or urgency ends the wait', async (t) => {
  const scene = await orderSceneFor(t)
  scene.check = () => ({ types: [], steps: [] })
  const settings = { backOffMs: [1, HOUR_MS], random: () => 0.5 }
  const edge = await scene.startEdge('one', settings)
  await edge.orders.want(demandOf(NAME))
  await until(() => edge.table.findOrder(NAME, 'ec')?.failures === 2, 'it has failed twice')
  const row = await failureOf(scene, edge)
  t.ok(row.waitMs > HOUR_MS - 30_000)
  await edge.orders.want(demandOf(NAME))
  t.equal((await scene.books.orders.find(NAME, 'ec'))?.row.nextTryAt, row.nextTryAt)
  await edge.orders.want(demandOf(NAME, { cause: 'renewal', isUrgent: true }))
  await until(() => edge.table.findOrder(NAME, 'ec')?.failures === 3, 'what is urgent is tried at once')
  t.equal(edge.table.findOrder(NAME, 'ec')?.cause, 'demand')
  scene.check = ({ types }) => ({ types, steps: [] })
  await edge.orders.want(demandOf(NAME, { cause: 'operator' }))
  await scene.issued(edge, NAME)
})

t.test('says when an empty budget has something left, and asks nobody', async (t) => {
  const scene = await orderSceneFor(t)
  const edge = await scene.startEdge('one', { limits: { ...LIMITS, domain: 1 } })
  await edge.orders.want(demandOf('one.customer.example'))
  await scene.issued(edge, 'one.customer.example')
  await edge.orders.want(demandOf('two.customer.example'))
  const row = await failureOf(scene, edge, 'two.customer.example')
  t.match(row.lastError, { code: 'certificate_budget', detail: /"domain"/ })
  t.ok(row.waitMs > 6 * 24 * HOUR_MS)
  t.equal(scene.cas[0]?.orders.length, 1)
})

t.test('keeps to the Retry-After of an authority that wants to be left alone', async (t) => {
  const scene = await orderSceneFor(t)
  const edge = await scene.startEdge('one')
  scene.cas[0]?.fail('newOrder', problem(429, 'rateLimited', 'too many', '3600'))
  await edge.orders.want(demandOf(NAME))
  const row = await failureOf(scene, edge)
  t.match(row.lastError, { code: 'ca_limited', problemType: 'rateLimited', detail: /too many/ })
  t.ok(row.waitMs > HOUR_MS - 30_000)
})

t.test('does not pay again for an order that the authority did not take', async (t) => {
  const scene = await orderSceneFor(t)
  const edge = await scene.startEdge('one', { limits: { ...LIMITS, set: 1 } })
  scene.cas[0]?.fail('newOrder', problem(500, 'serverInternal'), 4)
  await edge.orders.want(demandOf(NAME))
  await scene.issued(edge, NAME)
  t.equal(scene.cas[0]?.orders.length, 1)
})

t.test('waits as long as an authority under load asks, and goes on with the same order', async (t) => {
  const scene = await orderSceneFor(t, { cas: [{ pollsUntilDone: 3 }, {}] })
  const edge = await scene.startEdge('one', LONG)
  await edge.orders.want(demandOf(NAME))
  await until(() => scene.states(NAME).includes('answered'), 'the authority looks')
  scene.cas[0]?.fail('authorization', problem(503, 'serverInternal', 'busy', '1'), 1)
  await scene.issued(edge, NAME)
  t.notOk(scene.states(NAME).includes('failed'))
  t.same([scene.cas[0]?.orders.length, scene.cas[1]?.orders.length], [1, 0])
})

for (const [what, fault] of [
  ['answers 503', problem(503, 'serverInternal', 'overloaded')],
  ['answers 429', problem(429, 'rateLimited', 'too many', '86400')],
  ['hangs', 'hang'],
  ['closes every connection', 'drop'],
] as const) {
  t.test(`goes to the second authority when the first ${what}`, async (t) => {
    const scene = await orderSceneFor(t, { cas: [{}, {}], requestMs: 2_000 })
    const edge = await scene.startEdge('one', LONG)
    scene.cas[0]?.fail('newOrder', fault, Number.POSITIVE_INFINITY)
    await edge.orders.want(demandOf(NAME))
    await scene.issued(edge, NAME)
    t.equal(scene.cas[1]?.orders.length, 1)
    const kept = await scene.books.certificates.find(NAME, 'ec')
    t.equal(kept?.row.ca, scene.cas[1]?.directory)
  })
}

t.test('goes to the second authority when the first dies under an order', async (t) => {
  const scene = await orderSceneFor(t, { cas: [{ pollsUntilDone: 1_000_000 }, {}] })
  const edge = await scene.startEdge('one', LONG)
  await edge.orders.want(demandOf(NAME))
  await until(() => scene.states(NAME).includes('answered'), 'the first authority thinks')
  await scene.cas[0]?.stop()
  await scene.issued(edge, NAME)
  t.equal(scene.cas[1]?.issued.length, 1)
  t.equal((await scene.store.list('challenge/')).documents.length, 0)
})

t.test('carries the same order on when its only authority comes back', async (t) => {
  const scene = await orderSceneFor(t, { cas: [{ pollsUntilDone: 1_000_000 }] })
  const edge = await scene.startEdge('one', LONG)
  await edge.orders.want(demandOf(NAME))
  await until(() => scene.states(NAME).includes('answered'), 'the authority thinks')
  const [ca] = scene.cas
  await ca?.stop()
  const row = await failureOf(scene, edge)
  t.match(row.lastError, { code: 'ca_unreachable', step: 'answered' })
  if (ca !== undefined) ca.options.pollsUntilDone = 0
  await ca?.start()
  await edge.orders.want(demandOf(NAME, { cause: 'operator' }))
  await scene.issued(edge, NAME)
  t.equal(ca?.orders.length, 1)
})

t.test('gives an authority up that does not decide in time', async (t) => {
  const scene = await orderSceneFor(t, { cas: [{ pollsUntilDone: 1_000_000 }, {}] })
  const edge = await scene.startEdge('one', { ...LONG, answerMs: 1_000 })
  await edge.orders.want(demandOf(NAME))
  await scene.issued(edge, NAME)
  t.equal(scene.cas[1]?.issued.length, 1)
})

t.test("counts what could not be proven, in the authority's words, and stops before it does", async (t) => {
  const validate = () => 'Fetching http://www.customer.example/: connection refused'
  const scene = await orderSceneFor(t, { cas: [{ validate }, {}] })
  const edge = await scene.startEdge('one', { limits: { ...LIMITS, failures: 1 }, backOffMs: [1, HOUR_MS] })
  await edge.orders.want(demandOf(NAME))
  await until(() => edge.orders.counts().size > 0, 'it has failed')
  const host = `127.0.0.1:${scene.cas[0]?.port}`
  t.equal(edge.orders.counts().get(`${host},ca_unauthorized`), 1)
  t.ok(
    scene.lines.some(({ detail }) => /connection refused/.test(String(detail))),
    'the words are kept',
  )
  await scene.issued(edge, NAME)
  t.equal(edge.orders.counts().get(`${host},certificate_budget`), 1)
  t.equal(scene.cas[0]?.orders.length, 1)
  t.equal(scene.cas[1]?.orders.length, 1)
})

t.test('fails, and keeps the order, when not every edge has the answer in time', async (t) => {
  const scene = await orderSceneFor(t)
  const record = { name: 'deaf', version: '1', startedAt: '2026-01-31T12:00:00.000Z' }
  await scene.store.put('edge/deaf', record)
  const lease = await scene.store.acquireLease('edge/deaf', 'me', 60_000)
  const edge = await scene.startEdge('one', { ...LONG, confirmMs: 1_000 })
  await edge.orders.want(demandOf(NAME))
  const row = await failureOf(scene, edge)
  t.match(row.lastError, { code: 'certificate_unconfirmed', detail: /^Of the edges .* one does not have/ })
  t.notMatch(row.lastError?.detail, 'deaf', 'tenants are not told the names of edges')
  t.ok(scene.lines.some(({ level, missing }) => level === 'warn' && String(missing) === 'deaf'))
  if (lease !== undefined) await scene.store.releaseLease(lease)
  await edge.orders.want(demandOf(NAME, { cause: 'operator' }))
  await scene.issued(edge, NAME)
  t.equal(scene.cas[0]?.orders.length, 1)
})

t.test('refuses a certificate that must be stapled', async (t) => {
  const scene = await orderSceneFor(t, { cas: [{ isMustStaple: true }] })
  const edge = await scene.startEdge('one', LONG)
  await edge.orders.want(demandOf(NAME))
  const row = await failureOf(scene, edge)
  t.match(row.lastError, { code: 'ca_nonsense', detail: /stapled/ })
  t.equal((await scene.store.list('certificate/')).documents.length, 0)
})

t.test('refuses a chain that has expired', async (t) => {
  const now = () => Date.now() - 200 * 24 * HOUR_MS
  const scene = await orderSceneFor(t, { cas: [{ now }] })
  const edge = await scene.startEdge('one', LONG)
  await edge.orders.want(demandOf(NAME))
  const row = await failureOf(scene, edge)
  t.match(row.lastError, { code: 'ca_nonsense', detail: /ended at/ })
})

t.test('blames no name for a look-up that brought no answer', async (t) => {
  const scene = await orderSceneFor(t)
  const detail = 'the DNS look-up of its addresses failed: TIMEOUT'
  const delegation = { step: 'delegation', state: 'wrong', detail: 'it is no alias' } as const
  scene.check = () => ({ types: [], steps: [{ step: 'dns', state: 'unknown', detail }, delegation] })
  const edge = await scene.startEdge('one', { backOffMs: [1, 5, HOUR_MS] })
  await edge.orders.want(demandOf(NAME))
  await until(() => (edge.table.findOrder(NAME, 'ec')?.failures ?? 0) >= 4, 'it is tried again and again')
  scene.check = () => ({ types: [], steps: [{ step: 'dns', state: 'wrong', detail }] })
  await until(
    () => Date.parse(edge.table.findOrder(NAME, 'ec')?.nextTryAt ?? '') > Date.now() + HOUR_MS / 2,
    'an answer is waited on',
  )
})

t.test('tells of no failure that was not saved', async (t) => {
  const scene = await orderSceneFor(t)
  scene.check = async () => {
    const kept = await scene.books.orders.find(NAME, 'ec')
    // As another edge would, the first time.
    if (kept !== undefined && scene.demands.length === 1)
      await scene.books.orders.put(kept.row, kept.revision)
    return { types: [], steps: [{ step: 'dns', state: 'wrong', detail: 'it leads elsewhere' }] }
  }
  const edge = await scene.startEdge('one', LONG)
  await edge.orders.want(demandOf(NAME))
  await failureOf(scene, edge)
  t.equal(scene.demands.length, 2)
  const told = scene.lines.filter(({ message }) => message === 'certificate order failed')
  t.match(told, [{ name: NAME, cause: 'demand', code: 'certificate_dns' }])
  t.equal(told.length, 1)
  t.same([...edge.orders.counts().values()], [1])
})

t.test('goes to the next authority when the account is refused', async (t) => {
  const scene = await orderSceneFor(t, { cas: [{ externalAccounts: { me: 'AAAA' } }, {}] })
  const edge = await scene.startEdge('one', LONG)
  await edge.orders.want(demandOf(NAME))
  await scene.issued(edge, NAME)
  t.equal(edge.orders.counts().get(`127.0.0.1:${scene.cas[0]?.port},ca_account`), 1)
})
