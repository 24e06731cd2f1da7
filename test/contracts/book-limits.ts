/** What the books promise where many edges meet: accounts, keys of tickets, budgets and holds. */

import type { Test } from 'tap'
import type { Budget } from '../../acme/books.ts'
import { accountOf, CA, FAR, ticketKeyOf } from '../helpers/certificate-rows.ts'
import type { BedFor } from './book-bed.ts'

export async function testKeys(t: Test, bedFor: BedFor): Promise<void> {
  await t.test('of edges that make an account at once one does', async (t) => {
    const { books, others } = await bedFor(t)
    const rows = Array.from({ length: 6 }, (_, n) => accountOf(CA, { url: `${CA}/account/${n}` }))
    const done = await Promise.all(rows.map((row, n) => (n % 2 === 0 ? books : others).accounts.put(row, 0)))
    t.equal(done.filter((revision) => revision !== undefined).length, 1)
    const kept = await books.accounts.find(CA)
    t.ok(done.includes(kept?.revision))
    t.equal(await books.accounts.find(`${CA}/other`), undefined)
    const url = `${CA}/account/new`
    t.ok(await books.accounts.put(accountOf(CA, { url }), kept?.revision ?? 0))
    t.equal((await others.accounts.find(CA))?.row.url, url)
  })

  await t.test('of edges that change ticket keys at once one does, and wholly', async (t) => {
    const { books, others } = await bedFor(t)
    const letters = [...'abcdef']
    const made = new Map(letters.map((letter) => [letter, ticketKeyOf(letter)]))
    const add = async (letter: string, n: number) => {
      const book = (n % 2 === 0 ? books : others).ticketKeys
      const { keys, version } = await book.list()
      const put = [...made].flatMap(([name, key]) => (name === letter ? [key] : []))
      return keys.length === 0 && book.change({ put, remove: [] }, version)
    }
    const done = await Promise.all(letters.map(add))
    t.equal(done.filter(Boolean).length, 1)
    const first = letters[done.indexOf(true)] ?? ''
    const { keys, version } = await books.ticketKeys.list()
    t.strictSame(
      keys.map((key) => ({ ...key })),
      [made.get(first)],
    )
    const [young, old] = [ticketKeyOf('young', { sealsFrom: FAR }), ticketKeyOf('old')]
    t.equal(await books.ticketKeys.change({ put: [young, old], remove: [first] }, version), true)
    t.equal(await others.ticketKeys.change({ put: [], remove: ['young'] }, version), false)
    t.same(
      (await books.ticketKeys.list()).keys.map(({ id }) => id),
      ['old', 'young'],
    )
  })

  await t.test('a ticket key that breaks a rule hides no other', async (t) => {
    const { books, store } = await bedFor(t)
    await store.put('ticket-key/a', { id: 'a' })
    t.equal(await books.ticketKeys.change({ put: [ticketKeyOf('b')], remove: [] }, 0), true)
    t.same(
      (await books.ticketKeys.list()).keys.map(({ id }) => id),
      ['b'],
    )
  })
}

export async function testBudgets(t: Test, bedFor: BedFor): Promise<void> {
  const day = 86_400_000
  const budgetOf = (subject: string, capacity: number): Budget => ({
    ...{ limit: 'domain', subject, capacity, windowMs: day },
  })

  await t.test('edges that take at once never take more than there is', async (t) => {
    const { books, others } = await bedFor(t)
    const budget = budgetOf('shop.example', 5)
    const takes = Array.from({ length: 16 }, (_, n) => (n % 2 === 0 ? books : others).budgets.take([budget]))
    const states = await Promise.all(takes)
    t.equal(states.filter((state) => state === undefined).length, 5)
    t.ok(states.every((state) => state === undefined || state.left === 0))
    t.match(await books.budgets.read([budget]), [{ budget, left: 0 }])
  })

  await t.test('takes from all or from none', async (t) => {
    const { books } = await bedFor(t)
    const [wide, narrow] = [budgetOf('wide', 10), budgetOf('a/b?c', 1)]
    t.equal(await books.budgets.take([wide, narrow]), undefined)
    t.match(await books.budgets.take([wide, narrow]), { budget: narrow, left: 0 })
    t.match(await books.budgets.read([wide, narrow]), [{ left: 9 }, { left: 0 }])
    t.equal(await books.budgets.take([wide]), undefined)
    t.match(await books.budgets.read([wide]), [{ left: 8 }])
  })
}

export async function testHolds(t: Test, bedFor: BedFor): Promise<void> {
  await t.test('a name has one holder, and then the next', async (t) => {
    const { books, others } = await bedFor(t)
    const found = await Promise.all([books, others, books, others].map(({ holds }) => holds.find('order/a')))
    const [hold, ...more] = found.filter((each) => each !== undefined)
    t.same(more, [])
    t.equal(hold?.signal.aborted, false)
    const other = await others.holds.find('order/b')
    t.ok(other, 'another name is free')
    await other?.[Symbol.asyncDispose]()
    await hold?.[Symbol.asyncDispose]()
    const next = await others.holds.find('order/a')
    t.equal(next?.signal.aborted, false, 'it is free again')
    await next?.[Symbol.asyncDispose]()
  })
}
