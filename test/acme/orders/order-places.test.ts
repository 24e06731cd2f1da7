/** Which orders an edge takes up, in a table that is behind or full: nobody's names keep others' waiting. */

import t, { type Test } from 'tap'
import type { Books, CertificateTable } from '../../../acme/books.ts'
import { startOrders } from '../../../acme/orders/order-runner.ts'
import type { OrderRow } from '../../../acme/rows.ts'
import { QUIET_LOG } from '../../helpers/quiet-log.ts'
import { SEALER } from '../../helpers/sealer.ts'
import { until } from '../../helpers/until.ts'
import { DOMAIN, LIMITS } from './order-scene.ts'

function rowOf(name: string, changes: Partial<OrderRow> = {}): OrderRow {
  return {
    ...{ name, names: [name], keyType: 'ec', state: 'wanted', cause: 'demand', failures: 0 },
    createdAt: '2026-03-01T00:00:00.000Z',
    ...changes,
  }
}

/** An edge whose table has these rows; the book has those of `kept`, whose orders never end. */
async function edgeFor(
  t: Test,
  rows: readonly OrderRow[],
  kept: readonly string[] = rows.map(({ name }) => name),
) {
  const held: string[] = []
  const never = Promise.withResolvers<never>()
  never.promise.catch(() => {})
  const { signal } = new AbortController()
  const books = {
    holds: {
      find: async (name: string) => {
        held.push(name.replace('order/', ''))
        return { token: 1, signal, [Symbol.asyncDispose]: async () => {} }
      },
    },
    orders: { find: async (name: string) => (kept.includes(name) ? never.promise : undefined) },
  } as unknown as Books
  const table = {
    listOrders: () => rows,
    findOrder: (name: string, keyType: string) =>
      rows.find((row) => row.name === name && row.keyType === keyType),
    onOrder: () => () => {},
  } as unknown as CertificateTable
  const orders = await startOrders(
    {
      ...{ table, books, cas: [], sealer: SEALER, log: QUIET_LOG },
      checks: { check: async () => ({ steps: [], types: [] }) },
      isWanted: () => true,
    },
    {
      domain: DOMAIN,
      challengeTypes: ['http-01'],
      profiles: [],
      limits: LIMITS,
      sweepMs: 200,
      random: () => 0,
    },
  )
  t.teardown(async () => {
    never.reject(new Error('the test is over'))
    await orders[Symbol.asyncDispose]()
  })
  orders.open()
  return held
}

t.test('looks seldom at an order that the table has and the book has not', async (t) => {
  const held = await edgeFor(t, [rowOf('a.example')], [])
  await until(() => held.length >= 3, 'it is looked at again')
  const before = performance.now()
  const count = held.length
  await until(() => held.length >= count + 3, 'and again')
  t.ok(performance.now() - before > 400, 'a sweep apart')
})

t.test('keeps places for renewals and the platform, however many new names wait', async (t) => {
  const rows = Array.from({ length: 30 }, (_, index) => rowOf(`www.customer-${index}.example`))
  const renewals = ['one', 'two', 'three'].map((name) => rowOf(`${name}.example`, { cause: 'renewal' }))
  const held = await edgeFor(t, [...rows, ...renewals])
  await until(() => held.length >= 10, 'every place is taken')
  t.same(held.slice(7), ['one.example', 'two.example', 'three.example'])
})

t.test('gives the names of one owner no more than a part of the places', async (t) => {
  const many = Array.from({ length: 30 }, (_, index) => rowOf(`name-${index}.many.example`))
  const held = await edgeFor(t, [...many, rowOf('www.other.example')])
  await until(() => held.length >= 5, 'there is room for others')
  t.same(held.slice(4), ['www.other.example'])
})

t.test('orders EC before RSA, one after the other', async (t) => {
  const held = await edgeFor(t, [rowOf('a.example', { keyType: 'rsa' }), rowOf('b.example')])
  await until(() => held.length >= 2, 'both are taken up')
  t.same(held, ['b.example', 'a.example'])
  const same = await edgeFor(t, [rowOf('a.example', { keyType: 'rsa' }), rowOf('a.example')])
  await until(() => same.length >= 1, 'one is taken up')
  t.same(same, ['a.example'])
})
