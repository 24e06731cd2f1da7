/** VMs over the admin API: what is made of a request, who may, what else comes and goes with a VM. */

import t from 'tap'
import { putReport, reportOf } from '../vms/vm-documents.ts'
import { documentsOf, vmApiFor } from './vm-client.ts'

const VM = '/v1/vms/a'

t.test('makes a VM of nothing but its name, shows it and changes what is named', async (t) => {
  const { call, store, audited } = await vmApiFor(t)
  const created = await call('PUT', VM, { body: {} })
  t.match(created, { status: 201, headers: { location: VM, etag: `"${created.json.revision}"` } })
  const shown = {
    ...{ name: 'a', pool: 'default', image: 'hello', state: 'running', ports: {} },
    ...{ createdAt: created.json.createdAt, revision: created.json.revision },
    ...{ url: 'https://a.example.test', hostname: 'a.example.test', host: 'host-1', isReady: false },
  }
  t.strictSame(created.json, shown)
  t.same(await documentsOf({ store }, 'binding/'), {
    'a/a.example.test': { vm: 'a', hostname: 'a.example.test' },
  })
  t.match(await store.get('route/a.example.test'), {
    value: { vm: 'a', state: 'stopped', visibility: 'private' },
  })
  const again = await call('PUT', VM, { body: {} })
  t.match(again, { status: 200, headers: { location: undefined } })
  t.strictSame(again.json, shown, 'a write that changes nothing keeps its revision')
  const changed = await call('PUT', VM, { body: { comment: 'mine', port: 3_000, state: 'stopped' } })
  t.match(changed.json, { ...shown, state: 'stopped', comment: 'mine', port: 3_000, revision: Number })
  const body = { image: 'registry/app:1.2', ports: { 3000: { visibility: 'public' } }, comment: '' }
  const last = await call('PUT', VM, { body })
  const { comment: _comment, ...rest } = { ...changed.json, ...body }
  t.strictSame(last.json, { ...rest, revision: last.json.revision }, 'the rest stays, an empty comment goes')
  t.strictSame((await call('GET', VM)).json, last.json)
  t.same(Object.keys(await documentsOf({ store }, 'route/')), ['3000--a.example.test', 'a.example.test'])
  t.same(
    (await audited()).filter((line) => line.includes('vm/')),
    ['create vm/a', 'update vm/a', 'update vm/a'],
  )
})

t.test('shows what the host says, and is ready when the edge has read the row', async (t) => {
  const table = { revision: 0, status: () => ({}) }
  const { call, store } = await vmApiFor(t, { table })
  await call('PUT', VM, { body: {} })
  await putReport(store, reportOf('a', [8_000, 80], { generation: 3, host: 'host-2' }))
  const report = { host: 'host-2', state: 'running', generation: 3, ports: [80, 8_000] }
  t.match((await call('GET', VM)).json, { report, host: 'host-2', isReady: false })
  table.revision = (await store.get('route/a.example.test'))?.revision ?? 0
  t.match((await call('GET', VM)).json, { isReady: true })
  t.match((await call('GET', '/v1/vms')).json, { vms: [{ name: 'a', report, isReady: true }] })
  await putReport(store, reportOf('a', [], { state: 'failed', message: 'no space' }))
  const failed = await call('GET', VM, { headers: { 'if-none-match': '*' } })
  t.match(failed, { status: 200, json: { report: { state: 'failed', message: 'no space' }, isReady: false } })
  await store.put('report/a', { name: 'a', state: 'nonsense' })
  t.match((await call('GET', '/v1/vms')).json, { vms: [{ name: 'a', report: undefined }] })
})

t.test('gives a VM without a name one that can be said', async (t) => {
  const { call, store } = await vmApiFor(t)
  const names = new Set<unknown>()
  for (let made = 0; made < 20; made += 1) {
    const { status, json, headers } = await call('POST', '/v1/vms', { body: { image: 'hello' } })
    t.equal(status, 201)
    t.match(json.name, /^[a-z]+-[a-z]+-[1-9]\d$/)
    t.equal(headers.location, `/v1/vms/${json.name}`)
    names.add(json.name)
  }
  t.equal(names.size, 20)
  t.equal(Object.keys(await documentsOf({ store }, 'vm/')).length, 20)
})

t.test('POST makes a VM of a free name only', async (t) => {
  const { call, web, revision } = await vmApiFor(t)
  t.match(await call('POST', '/v1/vms', { body: { name: 'b' } }), {
    status: 201,
    headers: { location: '/v1/vms/b' },
  })
  const before = await revision()
  for (const token of [undefined, web]) {
    const answer = await call('POST', '/v1/vms', { body: { name: 'b' }, ...(token && { token }) })
    t.match(answer, { status: 409, json: { code: 'api_name_taken', field: '/name' } })
  }
  t.match(await call('POST', '/v1/vms', { body: { name: 'auth' } }), {
    status: 409,
    json: { field: '/name' },
  })
  t.match(await call('POST', '/v1/vms', { body: { name: 'A' } }), { status: 422, json: { field: '/name' } })
  t.equal(await revision(), before)
})

t.test('the same Idempotency-Key makes one VM, also when it is not ready in time', async (t) => {
  const { call, store } = await vmApiFor(t)
  for (const [path, status] of [
    ['/v1/vms', 201],
    ['/v1/vms?wait=0', 504],
  ] as const) {
    const before = Object.keys(await documentsOf({ store }, 'vm/')).length
    const again = { body: {}, headers: { 'idempotency-key': `key of ${path}` } }
    const [first, second] = [await call('POST', path, again), await call('POST', path, again)]
    t.match([first.status, second.status], [status, status])
    t.equal(second.text, first.text)
    t.equal(Object.keys(await documentsOf({ store }, 'vm/')).length, before + 1, path)
  }
})

t.test('a pool sees and touches its own VMs only', async (t) => {
  const { call, web, lab, webToken, revision } = await vmApiFor(t)
  await call('PUT', VM, { body: { pool: 'web' } })
  await call('PUT', '/v1/vms/b', { body: { pool: 'lab' } })
  const names = async (path: string, token?: string) => {
    const { json } = await call('GET', path, token === undefined ? {} : { token })
    return (json.vms as { name: string }[]).map(({ name }) => name)
  }
  t.same(await names('/v1/vms'), ['a', 'b'])
  t.same(await names('/v1/vms', web), ['a'])
  t.same(await names('/v1/vms?pool=lab'), ['b'])
  t.same(await names('/v1/vms?pool=lab', web), [])
  t.same(await names('/v1/vms?limit=1&after=a'), ['b'])
  const [reader, writer] = [await webToken('read'), await webToken('write')]
  const before = await revision()
  t.equal((await call('GET', VM, { token: lab })).status, 404)
  t.match(await call('PUT', VM, { body: {}, token: lab }), {
    status: 409,
    json: { code: 'api_name_taken', field: '/vm' },
  })
  t.equal((await call('DELETE', VM, { token: lab })).status, 404)
  t.equal((await call('GET', VM, { token: reader })).status, 200)
  for (const method of ['PUT', 'DELETE']) {
    const answer = await call(method, VM, { token: reader, ...(method === 'PUT' && { body: {} }) })
    t.match(answer, { status: 403, json: { detail: /"write" in the pool "web"/ } })
  }
  t.equal((await call('GET', VM, { token: writer })).status, 404)
  t.equal((await call('PUT', VM, { body: {}, token: writer })).status, 200)
  t.equal(await revision(), before)
  t.equal((await call('DELETE', VM, { token: writer })).status, 204)
})

t.test('honours If-Match and If-None-Match', async (t) => {
  const { call, store } = await vmApiFor(t)
  const make = { body: {}, headers: { 'if-none-match': '*' } }
  const answers = await Promise.all(Array.from({ length: 10 }, () => call('PUT', VM, make)))
  t.same(answers.map(({ status }) => status).sort(), [201, ...Array.from({ length: 9 }, () => 412)])
  const etag = (await call('GET', VM)).headers.etag ?? ''
  t.equal((await call('GET', VM, { headers: { 'if-match': '"1"' } })).status, 412)
  t.equal((await call('PUT', VM, { body: { comment: 'x' }, headers: { 'if-match': '"1"' } })).status, 412)
  await putReport(store, reportOf('a'))
  const changed = await call('PUT', VM, { body: { comment: 'x' }, headers: { 'if-match': etag } })
  t.equal(changed.status, 200, 'a report is no change of what is wanted')
  t.equal((await call('DELETE', VM, { headers: { 'if-match': etag } })).status, 412)
  t.equal((await call('DELETE', VM, { headers: { 'if-match': changed.headers.etag ?? '' } })).status, 204)
  t.equal((await call('DELETE', VM, { headers: { 'if-match': '*' } })).status, 404)
})
