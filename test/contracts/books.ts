/** The promises of the books of certificates, run over every kind of store. */

import type { Test } from 'tap'
import { type BookStoreFor, createBedFor } from './book-bed.ts'
import { testBudgets, testHolds, testKeys } from './book-limits.ts'
import { testCompletion, testOrders } from './book-orders.ts'
import { testCertificates, testChallenges } from './book-rows.ts'

export async function testBooks(t: Test, storeFor: BookStoreFor): Promise<void> {
  const bedFor = createBedFor(storeFor)
  await t.test('of those who write an order one does', (t) => testOrders(t, bedFor))
  await t.test('an order ends with its certificate, in one commit', (t) => testCompletion(t, bedFor))
  await t.test('a certificate takes its renewal with it', (t) => testCertificates(t, bedFor))
  await t.test('challenges are confirmed by every live edge', (t) => testChallenges(t, bedFor))
  await t.test('of those who make an account or a key one does', (t) => testKeys(t, bedFor))
  await t.test('budgets are never overdrawn', (t) => testBudgets(t, bedFor))
  await t.test('a hold has one holder', (t) => testHolds(t, bedFor))
}
