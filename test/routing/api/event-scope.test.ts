/** Events of one pool: all that its readers may read, deletions included, and not a name from any other pool. */

import t, { type Test } from 'tap'
import { until } from '../../helpers/until.ts'
import { apiFor } from './api-client.ts'
import { type EventQuery, eventsFor } from './event-reader.ts'
import {
  deleteDomain,
  deleteKeys,
  deleteRoute,
  deleteVm,
  moveRoute,
  putDomain,
  putGrant,
  putReport,
  putRoute,
  putVm,
} from './event-records.ts'
import { putPool, scopedTokenFor } from './pools-and-tokens.ts'

const AT = '2026-01-01T00:00:00Z'

/** Readers of the pool `mine`: with a token for it, and an operator who asks for it. */
const WAYS = ['a token for the pool', 'an operator with ?pool'] as const

async function bedFor(t: Test, way: (typeof WAYS)[number] = WAYS[0]) {
  const client = await apiFor(t)
  const { store } = client
  await putPool(client, 'mine')
  const { token } = await scopedTokenFor(client, [{ pool: 'mine', verbs: ['read'] }])
  const asked = way === WAYS[0] ? { token } : { path: '/v1/events?pool=mine' }
  const read = (query: EventQuery = {}) => eventsFor(t, client, { ...asked, ...query })
  /** From an earlier event on. */
  const resume = (id: number | string) => read({ headers: { 'last-event-id': String(id) } })
  /** Something that everybody is told, so that what came before has come. */
  const mark = async (n = 0) => {
    await store.put('pool/mine', { ...(await store.get('pool/mine'))?.value, cpuMillis: 1_000 + n })
  }
  const revision = async () => (await store.list('')).revision
  return { ...client, read, resume, mark, revision }
}

for (const way of WAYS) {
  t.test(`${way}: what is put and deleted in the pool is told, and nothing else`, async (t) => {
    const { store, read, mark } = await bedFor(t, way)
    await putVm(store, 'old', 'mine')
    await putVm(store, 'other-old', 'other')
    await putDomain(store, 'old.test', 'old')
    const reader = await read()
    for (const [vm, pool] of [
      ['new', 'mine'],
      ['other-new', 'other'],
    ] as const) {
      await putVm(store, vm, pool)
      await putReport(store, vm)
      await putGrant(store, vm, 'g1')
      await putRoute(store, `${vm}.test`, vm, pool)
      await putDomain(store, `${vm}.example.com`, vm)
      await deleteKeys(store, `grant/${vm}/g1`)
      await deleteRoute(store, `${vm}.test`, vm)
      await deleteDomain(store, `${vm}.example.com`, vm)
      await putGrant(store, vm, 'g2')
      await deleteVm(store, vm, [`grant/${vm}/g2`])
    }
    await deleteDomain(store, 'old.test', 'old')
    await deleteVm(store, 'old')
    await deleteVm(store, 'other-old')
    await store.put('pool/other', {
      name: 'other',
      cpuMillis: 100,
      memoryBytes: 1,
      diskBytes: 1,
      createdAt: AT,
    })
    await store.put('edge/other-e1', { name: 'other-e1', version: '1', startedAt: AT })
    await mark()
    await reader.has(18)
    t.strictSame(reader.told(), [
      'vm put new',
      'route put new.example.test',
      'report put new',
      'grant put new/g1',
      'route put new.test',
      'domain put new.example.com',
      'grant delete new/g1',
      'route delete new.test',
      'domain delete new.example.com',
      'grant put new/g2',
      'vm delete new',
      'report delete new',
      'grant delete new/g2',
      'route delete new.example.test',
      'domain delete old.test',
      'vm delete old',
      'route delete old.example.test',
      'pool put mine',
    ])
    t.notMatch(reader.text, /other/)
  })
}

t.test('a token for several pools is told of all of them, in those where it may read', async (t) => {
  const client = await apiFor(t)
  const { store } = client
  for (const pool of ['one', 'two', 'three']) await putPool(client, pool)
  const { token } = await scopedTokenFor(client, [
    { pool: 'one', verbs: ['read'] },
    { pool: 'two', verbs: ['read', 'write'] },
    { pool: 'three', verbs: ['write', 'share', 'admin'] },
  ])
  const reader = await eventsFor(t, client, { token })
  for (const pool of ['three', 'two', 'one']) await store.put(`pool/${pool}`, { name: pool })
  for (const pool of ['three', 'two', 'one']) await putVm(store, `vm-${pool}`, pool)
  await reader.has(6)
  t.strictSame(reader.told(), [
    'pool put two',
    'pool put one',
    'vm put vm-two',
    'route put vm-two.example.test',
    'vm put vm-one',
    'route put vm-one.example.test',
  ])
})

t.test('what moves to another pool is told as deleted, and as put when it comes back', async (t) => {
  const { store, read } = await bedFor(t)
  await putVm(store, 'a', 'mine')
  await putVm(store, 'b', 'other')
  const reader = await read()
  await putRoute(store, 'x.test', 'a', 'mine')
  await moveRoute(store, 'x.test', { from: 'a', to: 'b', pool: 'other' })
  await putRoute(store, 'x.test', 'b', 'other')
  await moveRoute(store, 'x.test', { from: 'b', to: 'a', pool: 'mine' })
  await store.put('vm/a', { ...(await store.get('vm/a'))?.value, pool: 'other' })
  await putReport(store, 'a')
  await reader.has(4)
  t.strictSame(reader.told(), ['route put x.test', 'route delete x.test', 'route put x.test', 'vm delete a'])
  t.strictSame(reader.events[3]?.data, {
    revision: reader.events[3]?.data.revision,
    kind: 'vm',
    name: 'a',
    action: 'delete',
  })
})

t.test('the name of a deleted VM tells nothing of the one that has it next', async (t) => {
  const { store, read, mark } = await bedFor(t)
  await putVm(store, 'a', 'mine')
  const reader = await read()
  await deleteVm(store, 'a')
  await putVm(store, 'a', 'other')
  await putReport(store, 'a')
  await putGrant(store, 'a', 'secret')
  await deleteVm(store, 'a', ['grant/a/secret'])
  await mark()
  await reader.has(3)
  t.strictSame(reader.told(), ['vm delete a', 'route delete a.example.test', 'pool put mine'])
})

t.test('comes back to everything that happened meanwhile', async (t) => {
  const { store, resume, revision, mark } = await bedFor(t)
  await putVm(store, 'a', 'mine')
  await putVm(store, 'b', 'other')
  await putRoute(store, 'gone.test', 'a', 'mine')
  await putRoute(store, 'gone.other.test', 'b', 'other')
  const left = await revision()
  await putReport(store, 'a')
  await putReport(store, 'b')
  await putRoute(store, 'b.other.test', 'b', 'other')
  await putRoute(store, 'new.test', 'a', 'mine')
  await putGrant(store, 'a', 'g1')
  await deleteKeys(store, 'grant/a/g1')
  // The row goes and the host name stays the VM's.
  await deleteKeys(store, 'route/a.example.test')
  await deleteRoute(store, 'gone.other.test', 'b')
  await deleteDomain(store, 'never.test', 'b')
  await mark()
  const reader = await resume(left)
  await reader.has(6)
  t.strictSame(reader.told(), [
    'report put a',
    'route put new.test',
    'grant put a/g1',
    'grant delete a/g1',
    'route delete a.example.test',
    'pool put mine',
  ])
  t.notMatch(reader.text, /other/)
})

const UNCLEAR = [
  ['a VM was deleted', (store) => deleteVm(store, 'b')],
  ['a host name was taken from a VM', (store) => deleteRoute(store, 'x.test', 'a')],
  [
    'a host name moved to another pool',
    (store) => moveRoute(store, 'x.test', { from: 'a', to: 'b', pool: 'other' }),
  ],
  ['a domain was given up', (store) => deleteDomain(store, 'd.test', 'a')],
] as const satisfies readonly (readonly [
  string,
  (store: Awaited<ReturnType<typeof bedFor>>['store']) => Promise<void>,
])[]

for (const [what, change] of UNCLEAR) {
  t.test(`has to list again when meanwhile ${what}`, async (t) => {
    const { store, resume, revision, mark } = await bedFor(t)
    await putVm(store, 'a', 'mine')
    await putVm(store, 'b', 'other')
    await putRoute(store, 'x.test', 'a', 'mine')
    await putDomain(store, 'd.test', 'a')
    const left = await revision()
    await change(store)
    const reader = await resume(left)
    await reader.has(1)
    const { type, id } = reader.events[0] ?? {}
    t.strictSame({ type, id }, { type: 'resync', id: String(await revision()) })
    await mark()
    await deleteVm(store, 'a')
    await reader.has(4)
    t.strictSame(reader.told().slice(0, 3), ['resync', 'pool put mine', 'vm delete a'])
    t.notMatch(reader.text, /"b"|other/)
  })
}

t.test('a gap in the feed loads anew what belongs to the pool', async (t) => {
  const { store, resume } = await bedFor(t)
  await putVm(store, 'a', 'mine')
  const reader = await resume(999_999)
  await reader.has(1)
  await deleteVm(store, 'a')
  await reader.has(3)
  t.strictSame(reader.told(), ['resync', 'vm delete a', 'route delete a.example.test'])
})

t.test('tokens, keys, hosts and edges are for those who may have them', async (t) => {
  const client = await apiFor(t)
  const { store } = client
  const { token: operator } = await scopedTokenFor(client, [{ pool: '*', verbs: ['read', 'admin'] }])
  const { token: reader } = await scopedTokenFor(client, [{ pool: '*', verbs: ['read'] }])
  const { token: poolAdmin } = await scopedTokenFor(client, [{ pool: 'mine', verbs: ['read', 'admin'] }])
  const streams = [
    await eventsFor(t, client, { token: operator }),
    await eventsFor(t, client, { token: reader }),
    await eventsFor(t, client, { token: poolAdmin }),
  ]
  for (const key of ['token/aaaaaaaaaaaa', 'key/k1', 'host/h1', 'edge/e1']) {
    await store.put(key, {})
    await store.delete(key)
  }
  await putPool(client, 'mine')
  for (const stream of streams) await until(() => stream.told().includes('pool put mine'), 'the last event')
  t.strictSame(streams[0]?.told(), [
    'token put aaaaaaaaaaaa',
    'token delete aaaaaaaaaaaa',
    'key put k1',
    'key delete k1',
    'host put h1',
    'host delete h1',
    'edge put e1',
    'edge delete e1',
    'pool put mine',
  ])
  t.strictSame(streams[1]?.told(), streams[0]?.told().slice(2))
  t.strictSame(streams[2]?.told(), ['pool put mine'])
})

t.test('refuses who may not read', async (t) => {
  const client = await apiFor(t)
  const { token } = await scopedTokenFor(client, [{ pool: 'mine', verbs: ['read'] }])
  const { token: writer } = await scopedTokenFor(client, [{ pool: 'mine', verbs: ['write', 'admin'] }])
  const forbidden = { status: 403, json: { code: 'api_forbidden' } }
  t.match(await client.call('GET', '/v1/events?pool=other', { token }), forbidden)
  t.match(await client.call('GET', '/v1/events?pool=mine', { token: writer }), forbidden)
  t.match(await client.call('GET', '/v1/events', { token: writer }), forbidden)
})
