/** Edges die at any moment: another one carries the order on from where it was saved. */

import t from 'tap'
import type { OrderState } from '../../../acme/rows.ts'
import { until } from '../../helpers/until.ts'
import { DOMAIN, demandOf, dieAt, type Fate, type OrderScene, orderSceneFor } from './order-scene.ts'

const NAME = 'www.customer.example'
const STATES: readonly OrderState[] = [
  'wanted',
  'ordered',
  'published',
  'confirmed',
  'answered',
  'ready',
  'keyed',
  'finalized',
]

for (const state of STATES) {
  t.test(`carries an order on whose edge was killed when it was ${state}`, async (t) => {
    const scene = await orderSceneFor(t)
    const killed = await scene.startEdge('one', {}, dieAt(state))
    await killed.orders.want(demandOf(NAME)).catch(() => {})
    await until(killed.isDead, 'the first edge is dead')
    await killed.stop()
    const edge = await scene.startEdge('two')
    await scene.issued(edge, NAME)
    t.equal(scene.cas[0]?.orders.length, 1)
    t.equal(scene.cas[0]?.issued.length, 1)
    await t.resolves(leavesNothing(scene))
  })
}

t.test('orders a second time only where nobody could know of the first order', async (t) => {
  const scene = await orderSceneFor(t)
  const fate: Fate = ({ what, phase }) => what === 'createOrder' && phase === 'after'
  const killed = await scene.startEdge('one', {}, fate)
  await killed.orders.want(demandOf(NAME))
  await until(killed.isDead, 'the first edge is dead')
  await killed.stop()
  const edge = await scene.startEdge('two')
  await scene.issued(edge, NAME)
  t.equal(scene.cas[0]?.orders.length, 2)
  t.equal(scene.cas[0]?.issued.length, 1)
})

t.test('pays from the budgets once, though two edges died before the authority had the order', async (t) => {
  const scene = await orderSceneFor(t)
  const limits = { domain: 1, set: 1, account: 1, failures: 1 }
  for (const name of ['one', 'two']) {
    const fate: Fate = ({ what, phase }) => what === 'createOrder' && phase === 'before'
    const killed = await scene.startEdge(name, { limits }, fate)
    await killed.orders.want(demandOf(NAME))
    await until(killed.isDead, 'the edge is dead')
    await killed.stop()
  }
  const edge = await scene.startEdge('three', { limits })
  await scene.issued(edge, NAME)
  t.equal(scene.cas[0]?.orders.length, 1)
})

t.test('finalizes once, though the edge did not live to hear that it had', async (t) => {
  const scene = await orderSceneFor(t)
  const fate: Fate = ({ what, phase }) => what === 'finalize' && phase === 'after'
  const killed = await scene.startEdge('one', {}, fate)
  await killed.orders.want(demandOf(NAME))
  await until(killed.isDead, 'the first edge is dead')
  await killed.stop()
  const edge = await scene.startEdge('two')
  await scene.issued(edge, NAME)
  t.equal(scene.cas[0]?.requests.filter((what) => what === 'finalize').length, 1)
  t.equal(scene.cas[0]?.issued.length, 1)
})

t.test('starts anew, and counts no failure, when the authority has forgotten the order', async (t) => {
  const scene = await orderSceneFor(t)
  const killed = await scene.startEdge('one', {}, dieAt('answered'))
  await killed.orders.want(demandOf(NAME))
  await until(killed.isDead, 'the first edge is dead')
  await killed.stop()
  const kept = await scene.books.orders.find(NAME, 'ec')
  if (kept === undefined) throw new Error('no order')
  const url = `${kept.row.url}-gone`
  const authorizations = kept.row.authorizations?.map((one) => ({ ...one, url: `${one.url}-gone` })) ?? []
  await scene.books.orders.put({ ...kept.row, url, authorizations }, kept.revision)
  const edge = await scene.startEdge('two')
  await scene.issued(edge, NAME)
  t.equal(scene.cas[0]?.orders.length, 2)
  t.notOk(scene.lines.some(({ fields }) => fields.state === 'failed'))
})

t.test('publishes the answers again when they ran out meanwhile', async (t) => {
  const scene = await orderSceneFor(t)
  const killed = await scene.startEdge('one', {}, dieAt('published'))
  await killed.orders.want(demandOf(NAME))
  await until(killed.isDead, 'the first edge is dead')
  await killed.stop()
  const { documents } = await scene.store.list('challenge/')
  await scene.books.challenges.delete(documents.map(({ key }) => key.slice('challenge/'.length)))
  const edge = await scene.startEdge('two')
  await scene.issued(edge, NAME)
  t.equal(scene.cas[0]?.orders.length, 1)
})

t.test('starts anew for an authority that the settings do not name any more', async (t) => {
  const scene = await orderSceneFor(t)
  await scene.books.orders.put(
    {
      ...demandOf(NAME),
      ...{ createdAt: '2026-01-31T12:00:00.000Z', state: 'answered', failures: 0 },
      ...{ ca: 'https://gone.example/directory', url: 'https://gone.example/order/1', authorizations: [] },
    },
    0,
  )
  const edge = await scene.startEdge('one')
  await scene.issued(edge, NAME)
  t.equal(scene.cas[0]?.orders.length, 1)
})

t.test('lets go at shutdown at once, and another edge carries on without waiting', async (t) => {
  const scene = await orderSceneFor(t, { cas: [{ pollsUntilDone: 1_000_000 }] })
  const first = await scene.startEdge('one')
  await first.orders.want(demandOf(NAME))
  await until(() => scene.states(NAME).includes('answered'), 'the authority thinks')
  const startedAt = performance.now()
  await first.stop()
  t.ok(performance.now() - startedAt < 300)
  const [ca] = scene.cas
  if (ca !== undefined) ca.options.pollsUntilDone = 0
  const edge = await scene.startEdge('two')
  await scene.issued(edge, NAME)
  t.equal(ca?.orders.length, 1)
})

t.test('ends every order well, killed at 50 random moments', async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  t.comment(`seed ${seed}`)
  const random = randomFrom(seed)
  const scene = await orderSceneFor(t, { hasUpdater: true })
  const ordersOf = (name: string) => scene.cas[0]?.orders.filter(({ names: [first] }) => first === name) ?? []
  const orderedBefore = new Map<string, number>()
  let kills = 0
  for (let round = 0; round < 50; round += 1) {
    const name = round === 0 || round === 10 ? DOMAIN : `www.customer-${round}.example`
    const names = name === DOMAIN ? [name, `*.${name}`] : [name]
    // A run makes about 70 calls over the edge's border, each with a before and an after.
    let left = Math.floor(random() * 140)
    const killed = await scene.startEdge(`killed-${round}`, {}, () => left-- === 0)
    const keyType = round % 20 === 0 ? 'rsa' : 'ec'
    await killed.orders.want({ name, names, keyType, cause: 'demand' }).catch(() => {})
    await until(
      async () => killed.isDead() || (await scene.books.orders.find(name, keyType)) === undefined,
      'it was killed, or was faster',
    )
    if (killed.isDead()) kills += 1
    await killed.stop()
    const kept = await scene.books.orders.find(name, keyType)
    const made = ordersOf(name).length - (orderedBefore.get(name) ?? 0)
    // Without its URL in the row, the order of a killed edge is lost.
    const lost = kept !== undefined && kept.row.url === undefined ? made : 0
    const edge = await scene.startEdge(`other-${round}`)
    await edge.orders.want({ name, names, keyType, cause: 'demand' })
    await scene.issued(edge, name, keyType)
    await leavesNothing(scene)
    t.equal(ordersOf(name).length - (orderedBefore.get(name) ?? 0), 1 + lost, name)
    orderedBefore.set(name, ordersOf(name).length)
    await edge.stop()
  }
  t.comment(`${kills} were killed`)
  t.notOk(scene.lines.some(({ fields }) => fields.code === 'ca_unauthorized'))
  t.same(
    [...scene.txt.values()].flatMap((values) => [...values]),
    [],
  )
})

async function leavesNothing({ store }: OrderScene): Promise<void> {
  for (const prefix of ['order/', 'challenge/']) {
    await until(async () => (await store.list(prefix)).documents.length === 0, `nothing below ${prefix}`)
  }
}

/** Mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
