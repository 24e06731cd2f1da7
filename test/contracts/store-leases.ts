/** What a store promises of leases: one holder, a token that only grows, no surprise from a late holder. */

import type { Test } from 'tap'
import type { Lease, Store } from '../../routing/store/store.ts'
import type { StoreFor } from './store.ts'

const TTL_MS = 1_000

export async function testLeases(t: Test, storeFor: StoreFor): Promise<void> {
  t.test('gives a name to one owner at a time', async (t) => {
    const { store, clock } = await leaseStoreFor(t, storeFor)
    const lease = await store.acquireLease('host/1', 'a', TTL_MS)
    t.strictSame(lease, { name: 'host/1', owner: 'a', token: 1, expiresAt: clock.nowMs + TTL_MS })
    t.equal(await store.acquireLease('host/1', 'b', TTL_MS), undefined)
    t.match(await store.acquireLease('host/2', 'b', TTL_MS), { owner: 'b' }, 'names are independent')
  })

  t.test('lets one of many that ask at once have it', async (t) => {
    const { store } = await leaseStoreFor(t, storeFor)
    const asked = Array.from({ length: 20 }, (_, n) => store.acquireLease('x', `owner-${n}`, TTL_MS))
    t.equal((await Promise.all(asked)).filter((lease) => lease !== undefined).length, 1)
  })

  t.test('extends the lease of the owner that asks again, under the same token', async (t) => {
    const { store, clock } = await leaseStoreFor(t, storeFor)
    const first = await acquire(store, 'a')
    clock.nowMs += TTL_MS - 1
    t.strictSame(await acquire(store, 'a'), { ...first, expiresAt: clock.nowMs + TTL_MS })
  })

  t.test('passes on when it has run out, under a larger token', async (t) => {
    const { store, clock } = await leaseStoreFor(t, storeFor)
    const first = await acquire(store, 'a')
    clock.nowMs += TTL_MS - 1
    t.equal(await store.acquireLease('x', 'b', TTL_MS), undefined)
    clock.nowMs += 1
    t.ok((await acquire(store, 'b')).token > first.token)
  })

  t.test('gives an owner that let it run out a new token', async (t) => {
    const { store, clock } = await leaseStoreFor(t, storeFor)
    const first = await acquire(store, 'a')
    clock.nowMs += TTL_MS
    t.ok((await acquire(store, 'a')).token > first.token)
  })

  t.test('renews while it is held', async (t) => {
    const { store, clock } = await leaseStoreFor(t, storeFor)
    const first = await acquire(store, 'a')
    clock.nowMs += TTL_MS - 1
    const renewed = await store.renewLease(first, TTL_MS)
    t.strictSame(renewed, { ...first, expiresAt: clock.nowMs + TTL_MS })
    clock.nowMs += TTL_MS - 1
    t.equal(await store.acquireLease('x', 'b', TTL_MS), undefined)
  })

  t.test('does not renew what was lost', async (t) => {
    const { store, clock } = await leaseStoreFor(t, storeFor)
    const first = await acquire(store, 'a')
    clock.nowMs += TTL_MS
    t.equal(await store.renewLease(first, TTL_MS), undefined, 'run out')
    await acquire(store, 'b')
    t.equal(await store.renewLease(first, TTL_MS), undefined, 'taken')
    clock.nowMs += TTL_MS
    await acquire(store, 'a')
    t.equal(await store.renewLease(first, TTL_MS), undefined, 'held again, under another token')
  })

  t.test('frees the name at once when it is released; the next token is larger', async (t) => {
    const { store } = await leaseStoreFor(t, storeFor)
    const first = await acquire(store, 'a')
    await store.releaseLease(first)
    t.equal(await store.renewLease(first, TTL_MS), undefined)
    const second = await acquire(store, 'b')
    t.ok(second.token > first.token)
    await store.releaseLease(second)
    t.ok((await acquire(store, 'b')).token > second.token)
  })

  t.test('does nothing when a lost lease is released', async (t) => {
    const { store, clock } = await leaseStoreFor(t, storeFor)
    const first = await acquire(store, 'a')
    clock.nowMs += TTL_MS
    const second = await acquire(store, 'b')
    await store.releaseLease(first)
    t.equal(await store.acquireLease('x', 'c', TTL_MS), undefined)
    t.match(await store.renewLease(second, TTL_MS), { token: second.token })
  })

  t.test('finds the lease that somebody holds, and none once it has run out or was released', async (t) => {
    const { store, clock } = await leaseStoreFor(t, storeFor)
    t.equal(await store.findLease('x'), undefined)
    const first = await acquire(store, 'a')
    t.strictSame(await store.findLease('x'), first)
    t.equal(await store.findLease('y'), undefined)
    clock.nowMs += TTL_MS
    t.equal(await store.findLease('x'), undefined, 'run out')
    const second = await acquire(store, 'b')
    t.strictSame(await store.findLease('x'), second)
    await store.releaseLease(second)
    t.equal(await store.findLease('x'), undefined, 'released')
  })

  t.test('keeps names and owners of any characters apart', async (t) => {
    const { store } = await leaseStoreFor(t, storeFor)
    const lease = await store.acquireLease('host/1:2', 'a:b\nc é😀', TTL_MS)
    t.match(lease, { name: 'host/1:2', owner: 'a:b\nc é😀', token: 1 })
    t.strictSame(await store.findLease('host/1:2'), lease)
    t.equal(await store.acquireLease('host/1:2', 'a', TTL_MS), undefined)
  })

  t.test('refuses a time to live that is no positive whole number', async (t) => {
    const { store } = await leaseStoreFor(t, storeFor)
    for (const ttlMs of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      await t.rejects(store.acquireLease('x', 'a', ttlMs), RangeError)
    }
  })

  t.test('leaves the revision and the feed alone', async (t) => {
    const { store } = await leaseStoreFor(t, storeFor)
    await acquire(store, 'a')
    t.equal((await store.list('')).revision, 0)
  })
}

async function leaseStoreFor(t: Test, storeFor: StoreFor) {
  const clock = { nowMs: 1_700_000_000_000 }
  return { clock, store: await storeFor(t, { now: () => clock.nowMs }) }
}

async function acquire(store: Store, owner: string): Promise<Lease> {
  const lease = await store.acquireLease('x', owner, TTL_MS)
  if (lease === undefined) throw new Error(`${owner} did not get the lease`)
  return lease
}
