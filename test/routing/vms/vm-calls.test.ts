/** Calls of a VM: many callers are one, what has no sense is not written, and nothing is left of a VM that is gone. */

import t, { type Test } from 'tap'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { clearCall, putCall } from '../../../routing/vms/vm-calls.ts'
import { putReport, putVm, reportOf, vmOf } from './vm-documents.ts'

const NOW = new Date('2026-01-31T12:00:00Z')

function later(ms: number): Date {
  return new Date(NOW.getTime() + ms)
}

/** The VM `a`, asleep. */
async function storeFor(t: Test): Promise<Store> {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  await putVm(store, vmOf('a'))
  await putReport(store, reportOf('a', [80], { state: 'asleep' }))
  return store
}

async function callOf(store: Store) {
  return (await store.get('call/a'))?.value
}

t.test('a VM that is asleep is called to wake', async (t) => {
  const store = await storeFor(t)
  const call = await putCall(store, { vm: 'a', what: 'wake', now: NOW })
  t.match(call, { vm: 'a', what: 'wake', id: /^[\w-]{12}$/, at: NOW.toISOString() })
  t.same(await callOf(store), call)
})

t.test('the same call within ten seconds writes nothing, and another one afterwards', async (t) => {
  const store = await storeFor(t)
  const first = await putCall(store, { vm: 'a', what: 'wake', now: NOW })
  const { revision } = await store.list('', { limit: 1 })
  const same = await putCall(store, { vm: 'a', what: 'wake', now: later(9_999) })
  t.same(same, first)
  t.equal((await store.list('', { limit: 1 })).revision, revision, 'nothing was written')
  const next = await putCall(store, { vm: 'a', what: 'wake', now: later(10_000) })
  t.not(next?.id, first?.id)
  t.same(await callOf(store), next)
})

t.test('a hundred edges that wake a VM at once write one call', async (t) => {
  const store = await storeFor(t)
  const before = (await store.list('', { limit: 1 })).revision
  const calls = await Promise.all(
    Array.from({ length: 100 }, () => putCall(store, { vm: 'a', what: 'wake', now: NOW })),
  )
  t.equal(new Set(calls.map((call) => call?.id)).size, 1)
  t.equal((await store.list('', { limit: 1 })).revision, before + 1)
})

t.test('what is not there, not asleep, or not to run is not woken', async (t) => {
  const store = await storeFor(t)
  t.equal(await putCall(store, { vm: 'absent', what: 'restart' }), undefined)
  for (const state of ['running', 'stopped', 'failed'] as const) {
    await putReport(store, reportOf('a', [80], { state }))
    t.equal(await putCall(store, { vm: 'a', what: 'wake' }), undefined, state)
  }
  await putReport(store, reportOf('a', [80], { state: 'asleep' }))
  await putVm(store, vmOf('a', { state: 'stopped' }))
  t.equal(await putCall(store, { vm: 'a', what: 'wake' }), undefined, 'it is to be stopped')
  t.same((await store.list('call/')).documents, [])
})

t.test('the last call counts, but a restart that is pending wakes as well', async (t) => {
  const store = await storeFor(t)
  await putCall(store, { vm: 'a', what: 'suspend', now: NOW })
  const restart = await putCall(store, { vm: 'a', what: 'restart', now: NOW })
  t.match(await callOf(store), { what: 'restart' })
  t.same(await putCall(store, { vm: 'a', what: 'wake', now: NOW }), restart)
  await putCall(store, { vm: 'a', what: 'suspend', now: NOW })
  t.match(await callOf(store), { what: 'suspend' })
})

t.test('only the call that was carried out is cleared', async (t) => {
  const store = await storeFor(t)
  const first = await putCall(store, { vm: 'a', what: 'suspend', now: NOW })
  const second = await putCall(store, { vm: 'a', what: 'restart', now: NOW })
  if (!first || !second) throw new Error('nothing was written')
  await clearCall(store, first)
  t.same(await callOf(store), second)
  await clearCall(store, second)
  t.equal(await callOf(store), undefined)
  await clearCall(store, second)
})

t.test('a VM that is deleted meanwhile is not called', async (t) => {
  const store = await storeFor(t)
  const racing = {
    get: async (key: string) => {
      const document = await store.get(key)
      if (key === 'report/a') await store.delete('vm/a')
      return document
    },
    commit: store.commit.bind(store),
  }
  t.equal(await putCall(racing, { vm: 'a', what: 'wake' }), undefined)
  t.equal(await callOf(store), undefined)
})

t.test('a call that cannot be read is replaced', async (t) => {
  const store = await storeFor(t)
  await store.put('call/a', { what: 'dance' })
  t.match(await putCall(store, { vm: 'a', what: 'wake' }), { what: 'wake' })
  t.match(await callOf(store), { what: 'wake' })
})
