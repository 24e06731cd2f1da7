/** Which orders an edge takes up, in a table that is behind or full: nobody's names keep others' waiting. */

import t, { type Test } from 'tap'
import type { Books, CertificateTable } from '../../../acme/books.ts'
import { startOrders } from '../../../acme/orders/order-runner.ts'
import type { OrderRow } from '../../../acme/rows.ts'
import { orderOf } from '../../helpers/certificate-rows.ts'
import { QUIET_LOG } from '../../helpers/quiet-log.ts'
import { SEALER } from '../../helpers/sealer.ts'
import { until } from '../../helpers/until.ts'
import { DOMAIN, LIMITS } from './order-scene.ts'

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
  const orders = startOrders(
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
  const held = await edgeFor(t, [orderOf('a.example')], [])
  await until(() => held.length >= 3, 'it is looked at again')
  const before = performance.now()
  const count = held.length
  await until(() => held.length >= count + 3, 'and again')
  t.ok(performance.now() - before > 350, 'a sweep apart')
})

t.test('keeps places for renewals and the platform, however many new names wait', async (t) => {
  const rows = Array.from({ length: 30 }, (_, index) => orderOf(`www.customer-${index}.example`))
  const renewals = ['one', 'two', 'three'].map((name) => orderOf(`${name}.example`, { cause: 'renewal' }))
  const held = await edgeFor(t, [...rows, ...renewals])
  await until(() => held.length >= 10, 'every place is taken')
  t.same(held.slice(7), ['one.example', 'two.example', 'three.example'])
})

t.test('gives the names of one owner no more than a part of the places', async (t) => {
  const many = Array.from({ length: 30 }, (_, index) => orderOf(`name-${index}.many.example`))
  const held = await edgeFor(t, [...many, orderOf('www.other.example')])
  await until(() => held.length >= 5, 'there is room for others')
  t.same(held.slice(4), ['www.other.example'])
})

t.test('orders EC before RSA, one after the other', async (t) => {
  const held = await edgeFor(t, [orderOf('a.example', { keyType: 'rsa' }), orderOf('b.example')])
  await until(() => held.length >= 2, 'both are taken up')
  t.same(held, ['b.example', 'a.example'])
  const same = await edgeFor(t, [orderOf('a.example', { keyType: 'rsa' }), orderOf('a.example')])
  await until(() => same.length >= 1, 'one is taken up')
  t.same(same, ['a.example'])
})

t.test(
  'takes names that have failed behind new ones, and gives them a part of the places alone',
  async (t) => {
    const at = '2026-03-01T00:00:00.000Z'
    const lastError = { code: 'certificate_dns', detail: 'it leads elsewhere', step: 'wanted', at } as const
    const failed = { state: 'failed', failures: 9, lastError, nextTryAt: at } as const
    const many = Array.from({ length: 30 }, (_, index) => orderOf(`www.customer-${index}.example`, failed))
    const held = await edgeFor(t, [...many, orderOf('www.new.example')])
    await until(() => held.length >= 5, 'some are taken up')
    t.equal(held[0], 'www.new.example')
    const sinceMs = performance.now()
    await until(() => performance.now() - sinceMs > 300, 'a sweep has passed')
    t.equal(held.length, 5, 'there is room for names that are new')
  },
)
