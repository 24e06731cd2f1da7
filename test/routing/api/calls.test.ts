/** Restart, suspend and wake: who may, what makes sense, and when the answer comes. */

import t, { type Test } from 'tap'
import type { Store } from '../../../routing/store/store.ts'
import { clearCall } from '../../../routing/vms/vm-calls.ts'
import { until } from '../../helpers/until.ts'
import { putReport, reportOf } from '../vms/vm-documents.ts'
import { vmApiFor } from './vm-client.ts'

const VM = '/v1/vms/a'
/** Every revision of these tests is below it. */
const table = { revision: 1_000_000, status: () => ({}) }

/** The VM `a` of the pool `web`, as its host reports it. */
async function apiWithVmFor(t: Test, state: 'running' | 'stopped' | 'failed' | 'asleep' = 'running') {
  const client = await vmApiFor(t, { table })
  await client.call('PUT', VM, { body: { pool: 'web' } })
  await report(client.store, state)
  return client
}

function report(store: Store, state: 'running' | 'stopped' | 'failed' | 'asleep') {
  return putReport(store, reportOf('a', [80], { state, ...(state === 'failed' && { message: 'why' }) }))
}

async function callOf(store: Store) {
  return (await store.get('call/a'))?.value as { id: string; what: string } | undefined
}

/** What a host does once it is called. */
async function answerCall(store: Store, work: () => Promise<unknown>): Promise<void> {
  await until(async () => (await callOf(store)) !== undefined, 'the VM is called')
  await work()
  await clearCall(store, { vm: 'a', id: (await callOf(store))?.id ?? '' })
}

t.test('a call is written once, with an audit record, and answered with the VM', async (t) => {
  const { call, store, web: token, audited } = await apiWithVmFor(t)
  for (const what of ['restart', 'suspend']) {
    t.match(await call('POST', `${VM}/${what}`, { token }), { status: 202, json: { name: 'a' } })
    t.match(await callOf(store), { vm: 'a', what })
  }
  const { id } = (await callOf(store)) ?? {}
  t.equal((await call('POST', `${VM}/suspend`, { token })).status, 202)
  t.equal((await callOf(store))?.id, id, 'the same call is still pending')
  const lines = (await audited()).filter((line) => line.endsWith('call/a'))
  t.same(lines, ['create call/a', 'update call/a'])
})

t.test('only who may write in the pool may call', async (t) => {
  const { call, store, lab, webToken } = await apiWithVmFor(t)
  t.equal((await call('POST', `${VM}/restart`, { token: lab })).status, 404)
  t.equal((await call('POST', `${VM}/restart`, { token: await webToken('read', 'share') })).status, 403)
  t.equal((await call('POST', '/v1/vms/absent/wake')).status, 404)
  t.equal(await callOf(store), undefined)
})

t.test('what a VM cannot do is refused, and what it did already is no call', async (t) => {
  const { call, store } = await apiWithVmFor(t, 'failed')
  const refused = async (what: string, detail: RegExp) =>
    t.match(await call('POST', `${VM}/${what}`), {
      status: 409,
      json: { code: 'api_vm_not_running', detail },
    })
  await refused('suspend', /reports that "a" is failed/)
  await report(store, 'asleep')
  t.equal((await call('POST', `${VM}/suspend`)).status, 200)
  await report(store, 'running')
  t.equal((await call('POST', `${VM}/wake`)).status, 200)
  await call('PUT', VM, { body: { state: 'stopped' } })
  await refused('wake', /"a" is stopped: there is nothing to wake/)
  await refused('restart', /nothing to restart/)
  await refused('suspend', /nothing to suspend/)
  t.equal(await callOf(store), undefined)
})

t.test('with "wait" the answer comes when the host is done', async (t) => {
  const { call, store } = await apiWithVmFor(t)
  const suspending = call('POST', `${VM}/suspend?wait=60`)
  await answerCall(store, () => report(store, 'asleep'))
  t.match(await suspending, { status: 200, json: { isReady: true, report: { state: 'asleep' } } })
  t.match((await store.get('route/a.example.test'))?.value, { state: 'asleep', upstream: undefined })
  const waking = call('POST', `${VM}/wake?wait=60`)
  await answerCall(store, () => report(store, 'running'))
  t.match(await waking, { status: 200, json: { isReady: true, report: { state: 'running' } } })
  const restarting = call('POST', `${VM}/restart?wait=60`)
  await answerCall(store, async () => {
    await report(store, 'stopped')
    await report(store, 'running')
  })
  t.match(await restarting, { status: 200, json: { report: { state: 'running' } } })
})

t.test('what the host could not do is 504, with the reason', async (t) => {
  const { call, store } = await apiWithVmFor(t)
  const notReady = { status: 504, json: { code: 'api_vm_not_ready' } }
  const suspending = call('POST', `${VM}/suspend?wait=60`)
  await answerCall(store, async () => {})
  t.match(await suspending, { ...notReady, json: { detail: /"a" was not suspended.*still runs/ } })
  const restarting = call('POST', `${VM}/restart?wait=60`)
  await answerCall(store, () => report(store, 'failed'))
  t.match(await restarting, { ...notReady, json: { detail: /failed: why/ } })
  t.match(await call('POST', `${VM}/restart?wait=0`), notReady, 'nobody answers the call')
})

t.test('a retry under the same Idempotency-Key calls nobody again', async (t) => {
  const { call, store } = await apiWithVmFor(t)
  const headers = { 'idempotency-key': 'k' }
  await call('POST', `${VM}/restart`, { headers })
  await clearCall(store, { vm: 'a', id: (await callOf(store))?.id ?? '' })
  t.match(await call('POST', `${VM}/restart`, { headers }), {
    status: 202,
    headers: { 'idempotency-replayed': 'true' },
  })
  t.equal(await callOf(store), undefined)
})

t.test('a VM that is asleep counts as ready, and one that is to be stopped does not', async (t) => {
  const { call, store } = await apiWithVmFor(t, 'asleep')
  t.match(await call('PUT', `${VM}?wait=60`, { body: {} }), { status: 200, json: { isReady: true } })
  const stopping = call('PUT', `${VM}?wait=60`, { body: { state: 'stopped' } })
  await until(async () => (await store.get('route/a.example.test'))?.value.state === 'stopped', 'not woken')
  await report(store, 'stopped')
  t.match(await stopping, { status: 200, json: { isReady: false, report: { state: 'stopped' } } })
})
