/** The end of a VM, in one commit or several, and VMs that cannot be read; whatever else happens at the same time. */

import t from 'tap'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { until } from '../../helpers/until.ts'
import { putReport, reportOf, rowsOf } from '../vms/vm-documents.ts'
import { documentsOf, vmApiFor } from './vm-client.ts'

const VM = '/v1/vms/a'

const NOW = '2026-01-31T12:00:00Z'

t.test('a VM goes with everything that is its own, and with nothing else', async (t) => {
  const { call, store, audited } = await vmApiFor(t)
  await call('PUT', '/v1/vms/ab', { body: {} })
  await call('PUT', VM, { body: { ports: { 8000: { visibility: 'public' } } } })
  await putReport(store, reportOf('a'))
  await call('PUT', '/v1/routes/shop.example.test', { body: { vm: 'a' } })
  await call('PUT', '/v1/domains/shop.example', { body: { vm: 'a', proof: 'operator' } })
  await call('PUT', '/v1/domains/later.example', { body: { vm: 'a' } })
  await call('PUT', `${VM}/grants/g`, { body: { to: { kind: 'user', value: 'u' }, role: 'root' } })
  await store.put('grant/a/broken', { id: 'broken' })
  await call('POST', `${VM}/snapshots`, { body: {} })
  await call('POST', `${VM}/restart`)
  const vmCreatedAt = (await store.get('vm/a'))?.value.createdAt
  t.equal((await call('DELETE', VM)).status, 204)
  t.match(await documentsOf({ store }, 'grave/'), {
    [`a/${vmCreatedAt}`]: { vm: 'a', vmCreatedAt, pool: 'default', host: 'host-1', deletedAt: String },
  })
  const left = (await store.list('')).documents.map(({ key }) => key)
  t.same(
    left.filter((key) => !/^(audit|pool|inside|token|bootstrap|idempotency|grave)\//.test(key)),
    ['binding/ab/ab.example.test', 'former-owner/a', 'join/ab', 'route/ab.example.test', 'vm/ab'],
  )
  const gone = (await audited()).filter((line) => line.startsWith('delete'))
  const expected = ['domain/later.example', 'domain/shop.example', 'grant/a/broken', 'grant/a/g', 'vm/a']
  t.same(
    gone.sort(),
    expected.map((key) => `delete ${key}`),
  )
  t.equal((await call('PUT', VM, { body: {} })).status, 201, 'and may come anew')
  t.match((await store.get('route/a.example.test'))?.value, { generation: 0, grants: undefined })
})

t.test('a VM with more than one commit can hold goes in steps, its record last', async (t) => {
  const { call, store } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  // More than the API would take: a limit may have been higher once.
  for (let made = 0; made < 300; made += 1) {
    const hostname = `d${made}.example`
    const proof = { challenge: 'c', state: 'proven', provenBy: 'operator', provenAt: NOW, createdAt: NOW }
    const row = { hostname, visibility: 'private', vm: 'a', port: 80, state: 'stopped', generation: 0 }
    await store.commit([
      { key: `domain/${hostname}`, value: { hostname, vm: 'a', ...proof } },
      { key: `claim/a/${hostname}`, value: { vm: 'a', hostname } },
      { key: `binding/a/${hostname}`, value: { vm: 'a', hostname } },
      { key: `route/${hostname}`, value: row },
    ])
  }
  const { revision } = await store.list('')
  const order: string[] = []
  const done = new AbortController()
  t.teardown(() => done.abort())
  const watching = (async () => {
    for await (const event of store.watch(revision, done.signal)) {
      if (event.kind === 'changes') order.push(...event.changes.map(({ key }) => key.replace(/\/.*/, '')))
    }
  })()
  t.equal((await call('DELETE', VM)).status, 204)
  await until(() => order.includes('vm'), 'the record goes')
  done.abort()
  await watching
  t.ok(order.indexOf('vm') > 550, 'in the last commit')
  t.ok(
    order.indexOf('former-owner') < order.indexOf('vm'),
    'whose the name was is known from the first one on',
  )
  const left = (await store.list('')).documents.map(({ key }) => key)
  t.same(
    left.filter((key) => /^(binding|route|domain|claim|join|vm|report)\//.test(key)),
    [],
  )
})

t.test('what cannot be read is mended or deleted by who may do everything', async (t) => {
  const { call, store, web } = await vmApiFor(t)
  await call('PUT', VM, { body: { pool: 'web' } })
  const poison = { ...(await store.get('vm/a'))?.value, image: 'no image' }
  await store.put('vm/a', poison)
  t.match(await call('GET', VM, { token: web }), { status: 500, json: { code: 'api_record_broken' } })
  t.same((await call('GET', '/v1/vms')).json, { vms: [] })
  t.equal((await call('PUT', VM, { body: {}, token: web })).status, 403)
  t.equal((await call('DELETE', VM, { token: web })).status, 404)
  const mended = await call('PUT', VM, { body: { pool: 'web' } })
  t.match(mended, { status: 200, json: { pool: 'web', image: 'hello' } })
  await store.put('vm/a', poison)
  t.equal((await call('DELETE', VM)).status, 204)
  const left = (await store.list('')).documents.map(({ key }) => key)
  t.same(
    left.filter((key) => /^(binding|route|join|vm)\//.test(key)),
    [],
  )
})

t.test('whatever happens at once, rows are a fresh join, and a VM that is gone has none', async (t) => {
  const inner = await startMemoryStore()
  t.teardown(() => inner[Symbol.asyncDispose]())
  const { call, store } = await vmApiFor(t, { store: delayed(inner) })
  const names = ['a', 'b']
  for (let round = 0; round < 10; round += 1) {
    const work = names.flatMap((name) => [
      call('PUT', `/v1/vms/${name}`, { body: { ports: { [8_000 + round]: { visibility: 'public' } } } }),
      call('PUT', `/v1/vms/${name}/ports/80`, { body: { visibility: round % 2 ? 'public' : 'private' } }),
      call('POST', `/v1/vms/${name}/grants`, {
        body: { to: { kind: 'user', value: `u${round}` }, role: 'viewer' },
      }),
      call('PUT', '/v1/routes/shop.example.test', { body: { vm: name } }),
      call('PUT', '/v1/domains/shop.example', { body: { vm: name, proof: 'operator' } }),
      putReport(store, reportOf(name, [80, 8_000 + round], { generation: round })),
      ...(round % 3 === 2 ? [call('DELETE', `/v1/vms/${name}`)] : []),
    ])
    const answers = await Promise.all(work)
    const failed = answers.filter((answer) => (answer?.status ?? 200) >= 500)
    t.same(failed, [])
    const { stored, fresh } = await rowsOf(store)
    t.strictSame(stored, fresh)
    const isThere = (vm: unknown) => store.get(`vm/${vm}`)
    for (const kind of ['binding/', 'grant/', 'claim/', 'join/']) {
      for (const key of Object.keys(await documentsOf({ store }, kind))) {
        t.ok(await isThere(key.split('/')[0]), `${kind}${key}`)
      }
    }
  }
})

/** Lets a random number of turns pass before each call and after it, so that any two may overlap. */
function delayed(store: Store): Store {
  const pause = async () => {
    for (let turns = Math.floor(Math.random() * 4); turns > 0; turns -= 1) await new Promise(setImmediate)
  }
  return new Proxy(store, {
    get: (target, name) => {
      const value = Reflect.get(target, name)
      if (typeof value !== 'function' || name === 'watch') return value
      return async (...given: unknown[]) => {
        await pause()
        const result = await value.apply(target, given)
        await pause()
        return result
      }
    },
  })
}
