/** Edges die at any moment: another one carries the order on from where it was saved. */

import t from 'tap'
import { ORDER_STATES } from '../../../acme/rows.ts'
import { deleteChallenges } from '../../helpers/challenge-writes.ts'
import { until } from '../../helpers/until.ts'
import {
  DOMAIN,
  demandOf,
  dieAt,
  type Fate,
  killEdge,
  type OrderScene,
  orderSceneFor,
} from './order-scene.ts'

const NAME = 'www.customer.example'
const STATES = ORDER_STATES.filter((state) => state !== 'failed')

for (const state of STATES) {
  t.test(`carries an order on whose edge was killed when it was ${state}`, async (t) => {
    const scene = await orderSceneFor(t)
    await killEdge(scene, dieAt(state), { demand: demandOf(NAME) })
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
  await killEdge(scene, fate, { demand: demandOf(NAME) })
  const edge = await scene.startEdge('two')
  await scene.issued(edge, NAME)
  t.equal(scene.cas[0]?.orders.length, 2)
  t.equal(scene.cas[0]?.issued.length, 1)
})

t.test('pays from the budgets once, though two edges died before the authority had the order', async (t) => {
  const scene = await orderSceneFor(t)
  const limits = { domain: 1, set: 1, account: 1, failures: 1 }
  const fate: Fate = ({ what, phase }) => what === 'createOrder' && phase === 'before'
  const terms = { demand: demandOf(NAME), settings: { limits } }
  await killEdge(scene, fate, terms)
  await killEdge(scene, fate, terms)
  const edge = await scene.startEdge('three', { limits })
  await scene.issued(edge, NAME)
  t.equal(scene.cas[0]?.orders.length, 1)
})

t.test('finalizes once, though the edge did not live to hear that it had', async (t) => {
  const scene = await orderSceneFor(t)
  const fate: Fate = ({ what, phase }) => what === 'finalize' && phase === 'after'
  await killEdge(scene, fate, { demand: demandOf(NAME) })
  const edge = await scene.startEdge('two')
  await scene.issued(edge, NAME)
  t.equal(scene.cas[0]?.requests.filter((what) => what === 'finalize').length, 1)
  t.equal(scene.cas[0]?.issued.length, 1)
})

t.test('starts anew, and counts no failure, when the authority has forgotten the order', async (t) => {
  const scene = await orderSceneFor(t)
  await killEdge(scene, dieAt('answered'), { demand: demandOf(NAME) })
  const kept = await scene.books.orders.find(NAME, 'ec')
  if (kept === undefined) throw new Error('no order')
  const url = `${kept.row.url}-gone`
  const authorizations = kept.row.authorizations?.map((one) => ({ ...one, url: `${one.url}-gone` })) ?? []
  await scene.books.orders.put({ ...kept.row, url, authorizations }, kept.revision)
  const edge = await scene.startEdge('two')
  await scene.issued(edge, NAME)
  t.equal(scene.cas[0]?.orders.length, 2)
  t.notOk(scene.lines.some(({ state }) => state === 'failed'))
})

t.test('publishes the answers again when they ran out meanwhile', async (t) => {
  const scene = await orderSceneFor(t)
  await killEdge(scene, dieAt('published'), { demand: demandOf(NAME) })
  const { documents } = await scene.store.list('challenge/')
  await deleteChallenges(
    scene.store,
    documents.map(({ key }) => key.slice('challenge/'.length)),
  )
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
  t.ok(performance.now() - startedAt < 10_000, 'it does not wait for the authority')
  const free = await scene.books.holds.find(`order/${NAME}`)
  t.ok(free, 'nobody has to wait')
  await free?.[Symbol.asyncDispose]()
  const [ca] = scene.cas
  if (ca !== undefined) ca.options.pollsUntilDone = 0
  const edge = await scene.startEdge('two')
  await scene.issued(edge, NAME)
  t.equal(ca?.orders.length, 1)
})

t.test(
  'an edge that is frozen before it publishes, and wakes when all is over, publishes nothing',
  async (t) => {
    const scene = await orderSceneFor(t)
    const commit = scene.store.commit.bind(scene.store)
    const frozen = Promise.withResolvers<void>()
    const woken = Promise.withResolvers<void>()
    let late: Promise<unknown> | undefined
    scene.store.commit = async (mutations) => {
      if (late !== undefined || !mutations.some(({ key }) => key.startsWith('challenge/'))) {
        return commit(mutations)
      }
      const done = woken.promise.then(() => commit(mutations))
      late = done.catch(() => {})
      frozen.resolve()
      return done
    }
    const first = await scene.startEdge('one')
    await first.orders.want(demandOf(NAME))
    await frozen.promise
    const edge = await scene.startEdge('two')
    // As if its time had run out.
    const lease = await scene.store.findLease(`hold/order/${NAME}`)
    if (lease !== undefined) await scene.store.releaseLease(lease)
    await scene.issued(edge, NAME)
    await leavesNothing(scene)
    woken.resolve()
    await late
    t.same((await scene.store.list('challenge/')).documents, [])
    t.same((await scene.store.list('order/')).documents, [])
  },
)

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
  t.notOk(scene.lines.some(({ code }) => code === 'ca_unauthorized'))
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
