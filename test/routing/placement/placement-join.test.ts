/** What a host is told of a VM is joined from records of six kinds, and told anew when one of them changes. */

import t from 'tap'
import { until } from '../../helpers/until.ts'
import {
  CREATED_AT,
  followFor,
  publicKeyOf,
  putGrant,
  putKey,
  putPool,
  putReport,
  putVm,
} from './placed-store.ts'

t.test("joins the keys of the pool's owner and of users with a root grant", async (t) => {
  const { store, news, vms } = await followFor(t, async (store) => {
    await putPool(store, 'mine', { host: 'me', owner: 'ann' })
    await putVm(store, 'one')
    await putKey(store, 'a1', 'ann')
    await putKey(store, 'b1', 'bob')
    await putKey(store, 'c1', 'cy')
  })
  const keys = async () => {
    const told = await news()
    const lines = vms.get('one')?.authorizedKeys.map((line) => line.slice('ssh-ed25519 '.length))
    return { told: told.filter((line) => line.startsWith('want')).length, keys: lines }
  }
  const of = (...ids: string[]) => ids.map(publicKeyOf)
  t.same(await keys(), { told: 1, keys: of('a1') })
  await putGrant(store, 'one', 'g', { to: { kind: 'user', value: 'bob' } })
  t.same(await keys(), { told: 1, keys: of('a1', 'b1') })
  await putKey(store, 'b2', 'bob')
  t.same(await keys(), { told: 1, keys: of('a1', 'b1', 'b2') })
  await putGrant(store, 'one', 'web', { to: { kind: 'user', value: 'cy' }, role: 'viewer' })
  await putGrant(store, 'one', 'mail', { to: { kind: 'email', value: 'cy@example.test' } })
  await putGrant(store, 'one', 'domain', { to: { kind: 'domain', value: 'cy' } })
  await putGrant(store, 'elsewhere', 'g', { to: { kind: 'user', value: 'cy' } })
  await putKey(store, 'c2', 'cy')
  t.same(await keys(), { told: 0, keys: of('a1', 'b1', 'b2') }, 'viewers and others change nothing')
  await putGrant(store, 'one', 'g', { to: { kind: 'user', value: 'bob' }, role: 'viewer' })
  t.same(await keys(), { told: 1, keys: of('a1') })
  await putPool(store, 'mine', { host: 'me', owner: 'cy' })
  t.same(await keys(), { told: 1, keys: of('c1', 'c2') })
  await store.delete('key/c1')
  t.same(await keys(), { told: 1, keys: of('c2') })
})

t.test('an address opens to the keys of the user who is known by it', async (t) => {
  const { store, news, vms } = await followFor(t, async (store) => {
    await putPool(store, 'mine', { host: 'me' })
    await putVm(store, 'one')
    await putKey(store, 'd1', 'dee@example.test')
    await putGrant(store, 'one', 'web', { to: { kind: 'email', value: 'cy@example.test' }, role: 'viewer' })
    await putKey(store, 'c1', 'cy@example.test')
  })
  await news()
  t.same(vms.get('one')?.authorizedKeys, [])
  const to = { kind: 'email', value: 'dee@example.test' }
  await putGrant(store, 'one', 'mail', { to, ports: [8_000] })
  await news()
  t.same(vms.get('one')?.authorizedKeys, [`ssh-ed25519 ${publicKeyOf('d1')}`])
  await putKey(store, 'd2', 'dee@example.test')
  await news()
  t.equal(vms.get('one')?.authorizedKeys.length, 2)
  await store.delete('grant/one/mail')
  await news()
  t.same(vms.get('one')?.authorizedKeys, [])
})

t.test('notices within seconds that the clock was set past the end of a grant', async (t) => {
  let now = Date.parse('2026-03-01T00:00:00Z')
  const { news, vms, told } = await followFor(
    t,
    async (store) => {
      await putPool(store, 'mine', { host: 'me' })
      await putVm(store, 'one')
      await putKey(store, 'b1', 'bob')
      const to = { kind: 'user', value: 'bob' }
      await putGrant(store, 'one', 'g', { to, expiresAt: '2026-03-02T00:00:00Z' })
    },
    { now: () => now },
  )
  await news()
  t.equal(vms.get('one')?.authorizedKeys.length, 1)
  now += 86_400_000
  await until(() => told.length > 0, 'the grant has run out')
  t.same(vms.get('one')?.authorizedKeys, [])
})

t.test('takes the key away when a grant runs out, without any change of the store', async (t) => {
  let now = Date.parse('2026-03-01T00:00:00Z')
  const { news, vms, told } = await followFor(
    t,
    async (store) => {
      await putPool(store, 'mine', { host: 'me' })
      await putVm(store, 'one')
      await putKey(store, 'b1', 'bob')
      const to = { kind: 'user', value: 'bob' }
      await putGrant(store, 'one', 'past', { to, expiresAt: '2026-02-01T00:00:00Z' })
      await putGrant(store, 'one', 'g', { to, expiresAt: '2026-03-01T00:00:00.100Z' })
    },
    { now: () => now },
  )
  await news()
  t.equal(vms.get('one')?.authorizedKeys.length, 1)
  now += 100
  await until(() => told.length > 0, 'the grant has run out')
  t.same(told, ['want one running hello'])
  t.same(vms.get('one')?.authorizedKeys, [])
})

t.test('joins who may connect, on the default port unless others are named', async (t) => {
  const { store, news, vms } = await followFor(t, async (store) => {
    await putPool(store, 'mine', { host: 'me' })
    await putVm(store, 'one')
    await putVm(store, 'two')
    await putGrant(store, 'one', 'p', { to: { kind: 'vm', value: 'two' }, role: 'viewer' })
    await putGrant(store, 'one', 'absent', { to: { kind: 'vm', value: 'nobody' }, role: 'viewer' })
  })
  const peers = async () => {
    await news()
    return vms.get('one')?.peers
  }
  t.same(await peers(), [{ vm: 'two', ports: [80] }])
  await putReport(store, 'one', 'me', { defaultPort: 3_000 })
  t.same(await peers(), [{ vm: 'two', ports: [3_000] }])
  await putReport(store, 'one', 'them', { defaultPort: 4_000 })
  t.same(await peers(), [{ vm: 'two', ports: [80] }], 'another host has no say')
  await putVm(store, 'one', { port: 5_000 })
  await putGrant(store, 'one', 'q', { to: { kind: 'vm', value: 'two' }, ports: [9, 22] })
  t.same(await peers(), [{ vm: 'two', ports: [9, 22, 5_000] }])
  await store.delete('vm/two')
  t.same(await peers(), [])
  await putVm(store, 'two', { createdAt: '2026-02-01T00:00:00Z' })
  t.same(await peers(), [], 'a later VM of that name is another one')
  await putGrant(store, 'one', 'r', {
    to: { kind: 'vm', value: 'two' },
    createdAt: '2026-02-01T00:00:00Z',
  })
  t.same(await peers(), [{ vm: 'two', ports: [5_000] }])
})

t.test('passes on size, source, restore and what the VM is to do once', async (t) => {
  const wish = {
    ...{ cpus: 2, memoryBytes: 134_217_728, diskBytes: 1_073_741_824, weight: 200, egress: 'none' },
    ...{ suspendAfterSeconds: 60, source: { vm: 'old', createdAt: CREATED_AT, snapshot: 's' } },
    restore: { id: 'r1', snapshot: 's' },
  }
  const { store, news, vms } = await followFor(t, async (store) => {
    await putPool(store, 'mine', { host: 'me' })
    await putVm(store, 'one', { ...wish, comment: 'not told', port: 8_000 })
  })
  await news()
  const base = { name: 'one', pool: 'mine', image: 'hello', state: 'running', createdAt: CREATED_AT }
  t.same(vms.get('one'), { ...base, ...wish, authorizedKeys: [], peers: [] })
  await putVm(store, 'one', { ...wish, comment: 'other', ports: { 80: { visibility: 'public' } } })
  t.same(await news(), [], 'what a host need not know')
  const call = { vm: 'one', what: 'suspend', id: 'c', at: CREATED_AT }
  await store.put('call/one', call)
  await store.put('call/elsewhere', { ...call, vm: 'elsewhere' })
  t.same(await news(), ['want one running hello'])
  t.same(vms.get('one')?.call, { id: 'c', what: 'suspend', at: CREATED_AT })
  await store.delete('call/one')
  t.same(await news(), ['want one running hello'])
  t.equal(vms.get('one')?.call, undefined)
})
