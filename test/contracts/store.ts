/** The promises of a store, run over every implementation. */

import type { Test } from 'tap'
import type { Store, StoreSettings } from '../../routing/store/store.ts'
import { testCommits } from './store-commits.ts'
import { testDocuments } from './store-documents.ts'
import { testFeed } from './store-feed.ts'
import { testLeases } from './store-leases.ts'
import { testMarks } from './store-marks.ts'

/** Starts an empty store whose end is the test's. */
export type StoreFor = (t: Test, settings?: StoreSettings) => Promise<Store>

export async function testStore(t: Test, storeFor: StoreFor): Promise<void> {
  await t.test('documents', (t) => testDocuments(t, storeFor))
  await t.test('commits', (t) => testCommits(t, storeFor))
  await t.test('feed', (t) => testFeed(t, storeFor))
  await t.test('marks', (t) => testMarks(t, storeFor))
  await t.test('leases', (t) => testLeases(t, storeFor))
}
