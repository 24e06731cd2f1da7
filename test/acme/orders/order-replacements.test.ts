/** Orders that say what they replace (RFC 9773 section 5): what they cost, and what authorities may dislike about it. */

import t from 'tap'
import { problem } from '../../helpers/small-ca.ts'
import { until } from '../../helpers/until.ts'
import { demandOf, LIMITS, orderSceneFor } from './order-scene.ts'

const NAME = 'www.customer.example'
const DAY_MS = 86_400_000
/** Longer than a test. */
const LONG = { backOffMs: [DAY_MS] }

t.test('replaces without paying where the authority is told what it replaces', async (t) => {
  const scene = await orderSceneFor(t, { cas: [{ hasRenewalInfo: true }] })
  const clock = { aheadMs: 0 }
  const now = () => Date.now() + clock.aheadMs
  const edge = await scene.startEdge('one', { ...LONG, now, limits: { ...LIMITS, set: 1 } })
  await edge.orders.want(demandOf(NAME))
  await scene.issued(edge, NAME)
  const revision = edge.table.get(NAME, 'ec')?.revision
  await until(() => edge.table.findOrder(NAME, 'ec') === undefined, 'the order is gone')
  clock.aheadMs = 2 * DAY_MS
  await edge.orders.want(demandOf(NAME, { cause: 'renewal' }))
  await until(() => edge.table.get(NAME, 'ec')?.revision !== revision, 'it is replaced')
  t.equal(scene.cas[0]?.orders[1]?.replaces, scene.cas[0]?.issued[0]?.certId)
})

t.test(
  'pays for what is replaced within a day, so that no clock and no window orders without end',
  async (t) => {
    const scene = await orderSceneFor(t, { cas: [{ hasRenewalInfo: true }] })
    const edge = await scene.startEdge('one', { ...LONG, limits: { ...LIMITS, set: 2 } })
    await edge.orders.want(demandOf(NAME))
    await scene.issued(edge, NAME)
    for (const ended of [2, 3]) {
      await until(() => edge.table.findOrder(NAME, 'ec') === undefined, 'the order is gone')
      await edge.orders.want(demandOf(NAME, { cause: 'renewal' }))
      const ends = () => scene.states(NAME).filter((state) => state === 'issued' || state === 'failed')
      await until(() => ends().length >= ended, 'it ends')
    }
    const { row } = (await scene.books.orders.find(NAME, 'ec')) ?? {}
    t.match(row?.lastError, { code: 'certificate_budget', detail: /"set"/ })
    t.equal(scene.cas[0]?.orders.length, 2)
  },
)

for (const refusal of [
  problem(409, 'alreadyReplaced'),
  problem(400, 'malformed'),
  problem(403, 'unauthorized', 'another account ordered what is being replaced'),
]) {
  t.test(
    `orders without it when the authority answers ${refusal.status} to what is to be replaced`,
    async (t) => {
      const scene = await orderSceneFor(t, { cas: [{ hasRenewalInfo: true }] })
      const edge = await scene.startEdge('one', LONG)
      await edge.orders.want(demandOf(NAME))
      await scene.issued(edge, NAME)
      const revision = edge.table.get(NAME, 'ec')?.revision
      await until(() => edge.table.findOrder(NAME, 'ec') === undefined, 'the order is gone')
      scene.cas[0]?.fail('newOrder', refusal)
      await edge.orders.want(demandOf(NAME, { cause: 'renewal' }))
      await until(() => edge.table.get(NAME, 'ec')?.revision !== revision, 'it is replaced')
      t.equal(scene.cas[0]?.orders[1]?.replaces, undefined)
    },
  )
}
