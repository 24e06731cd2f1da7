/** What orders cost, and what costs nothing: budgets are paid once for each order, and what passes blames no name. */

import t from 'tap'
import { toAccountBudget, toNewcomerBudget, toOrderBudgets } from '../../../acme/orders/order-budgets.ts'
import { problem } from '../../helpers/small-ca.ts'
import { until } from '../../helpers/until.ts'
import { demandOf, LIMITS, type OrderScene, orderSceneFor, type SceneEdge } from './order-scene.ts'

const NAME = 'www.customer.example'
const HOUR_MS = 3_600_000

async function spentOf({ books, cas: [ca] }: OrderScene, limit = 'account'): Promise<number> {
  const directory = ca?.directory ?? ''
  const budgets = [...toOrderBudgets([NAME], directory, LIMITS), toNewcomerBudget(directory, LIMITS)]
  const states = await books.budgets.read(budgets)
  const state = states.find(({ budget }) => budget.limit === limit)
  return (state?.budget.capacity ?? 0) - (state?.left ?? 0)
}

async function renewed(edge: SceneEdge, cause: 'operator' | 'renewal'): Promise<void> {
  await until(() => edge.table.findOrder(NAME, 'ec') === undefined, 'the order is gone')
  const revision = edge.table.get(NAME, 'ec')?.revision
  await edge.orders.want(demandOf(NAME, { cause }))
  await until(() => edge.table.get(NAME, 'ec')?.revision !== revision, 'it is replaced')
}

t.test('an operator pays for what replaces, though the authority does not count it', async (t) => {
  const scene = await orderSceneFor(t, { cas: [{ hasRenewalInfo: true }] })
  const clock = { aheadMs: 0 }
  const edge = await scene.startEdge('one', { now: () => Date.now() + clock.aheadMs })
  await edge.orders.want(demandOf(NAME))
  await scene.issued(edge, NAME)
  clock.aheadMs = 48 * HOUR_MS
  await renewed(edge, 'renewal')
  t.equal(await spentOf(scene), 1, 'a renewal costs nothing')
  await renewed(edge, 'operator')
  t.equal(await spentOf(scene), 2)
  t.ok(scene.cas[0]?.orders[2]?.replaces, 'the authority is told all the same')
})

t.test('pays each authority once, however often it takes no order', async (t) => {
  const scene = await orderSceneFor(t, { cas: [{}, {}] })
  for (const ca of scene.cas) ca.fail('newOrder', problem(500, 'serverInternal'), Number.POSITIVE_INFINITY)
  const edge = await scene.startEdge('one', { backOffMs: [5] })
  await edge.orders.want(demandOf(NAME))
  await until(() => (edge.table.findOrder(NAME, 'ec')?.failures ?? 0) >= 3, 'it has failed three times')
  t.equal(await spentOf(scene), 1)
  const [, second] = scene.cas
  const states = await scene.books.budgets.read([toAccountBudget(second?.directory ?? '', LIMITS)])
  t.equal(LIMITS.account - (states[0]?.left ?? 0), 1)
  second?.heal()
  await scene.issued(edge, NAME)
})

t.test('leaves a part of the account to renewals and the platform', async (t) => {
  const scene = await orderSceneFor(t)
  const edge = await scene.startEdge('one', { limits: { ...LIMITS, account: 3 } })
  const names = ['a', 'b', 'c'].map((label) => `${label}.customer.example`)
  for (const name of names) await edge.orders.want(demandOf(name))
  await until(
    () => names.some((name) => edge.table.findOrder(name, 'ec')?.state === 'failed'),
    'the third new name waits',
  )
  const failed = names.find((name) => edge.table.findOrder(name, 'ec')?.state === 'failed') ?? ''
  t.match(edge.table.findOrder(failed, 'ec')?.lastError, {
    code: 'certificate_budget',
    detail: /account-new/,
  })
  await edge.orders.want(demandOf(NAME, { cause: 'renewal' }))
  await scene.issued(edge, NAME)
})

t.test('what passes is no failure of the name, and is waited for with some spread', async (t) => {
  const scene = await orderSceneFor(t)
  const backOffMs = [50, 10_000, HOUR_MS]
  const edge = await scene.startEdge('one', {
    backOffMs,
    limits: { ...LIMITS, domain: 1 },
    random: () => 0.5,
  })
  await edge.orders.want(demandOf('first.customer.example'))
  await scene.issued(edge, 'first.customer.example')
  await edge.orders.want(demandOf(NAME))
  await until(() => edge.table.findOrder(NAME, 'ec')?.state === 'failed', 'the budget is empty')
  const row = edge.table.findOrder(NAME, 'ec')
  t.match(row, { failures: 0, lastError: { code: 'certificate_budget' } })
  const [, told = ''] = /again at (\S+)/.exec(row?.lastError?.detail ?? '') ?? []
  t.equal(Date.parse(row?.nextTryAt ?? '') - Date.parse(told), 5_000)
})

t.test('an order that its account may not see is given up', async (t) => {
  const scene = await orderSceneFor(t)
  scene.cas[0]?.fail('order', problem(403, 'unauthorized', 'another account'))
  const edge = await scene.startEdge('one')
  await edge.orders.want(demandOf(NAME))
  await scene.issued(edge, NAME)
  t.equal(scene.cas[0]?.orders.length, 2)
  t.ok(scene.lines.some(({ code }) => code === 'ca_account'))
})

t.test('an account that is refused with any word leads to the next authority', async (t) => {
  const scene = await orderSceneFor(t, { cas: [{}, {}] })
  scene.cas[0]?.fail('account', problem(400, 'malformed', 'no'), Number.POSITIVE_INFINITY)
  const edge = await scene.startEdge('one', { backOffMs: [HOUR_MS] })
  await edge.orders.want(demandOf(NAME))
  await scene.issued(edge, NAME)
  t.equal(scene.cas[1]?.issued.length, 1)
})
