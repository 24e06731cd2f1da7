/** Ports of a VM: their host names, who gets in, and which one the bare name leads to. */

import t from 'tap'
import { MAX_DECLARED_PORTS } from '../../../routing/api/vm-bodies.ts'
import { putReport, reportOf } from '../vms/vm-documents.ts'
import { documentsOf, vmApiFor } from './vm-client.ts'

const VM = '/v1/vms/a'
const PORT = '/v1/vms/a/ports/8000'

t.test('declares a port, shows it, and takes its host name away again', async (t) => {
  const { call, store, audited } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  t.equal((await call('GET', PORT)).status, 404)
  const created = await call('PUT', PORT, { body: { visibility: 'public' } })
  t.match(created, { status: 201, headers: { location: PORT, etag: `"${created.json.revision}"` } })
  const shown = {
    ...{ port: 8_000, hostname: '8000--a.example.test', url: 'https://8000--a.example.test' },
    ...{ visibility: 'public', isDefault: false, isDeclared: true, isOpen: false },
  }
  t.strictSame(created.json, { ...shown, revision: created.json.revision })
  t.strictSame((await call('GET', PORT)).json, created.json)
  t.match(await store.get('route/8000--a.example.test'), { value: { port: 8_000, visibility: 'public' } })
  const changed = await call('PUT', PORT, { body: { visibility: 'private' } })
  t.match(changed, { status: 200, json: { visibility: 'private' } })
  t.match(await store.get('route/8000--a.example.test'), { value: { visibility: 'private' } })
  t.equal((await call('DELETE', PORT)).status, 204)
  t.same(Object.keys(await documentsOf({ store }, 'route/')), ['a.example.test'])
  t.same(Object.keys(await documentsOf({ store }, 'binding/')), ['a/a.example.test'])
  t.equal((await call('DELETE', PORT)).status, 404)
  const lines = (await audited()).filter((line) => line.endsWith('vm/a'))
  t.same(lines, ['create vm/a', 'update vm/a', 'update vm/a', 'update vm/a'])
})

t.test('leaves Authorization to the app of a port that says so', async (t) => {
  const { call, store } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  const created = await call('PUT', PORT, { body: { visibility: 'private', authorization: 'app' } })
  t.match(created, { status: 201, json: { visibility: 'private', authorization: 'app' } })
  t.strictSame((await call('GET', PORT)).json, created.json)
  t.match((await call('GET', `${VM}/ports`)).json, { ports: [{}, { port: 8_000, authorization: 'app' }] })
  t.match((await call('GET', VM)).json, { ports: { 8000: { authorization: 'app' } } })
  const { value: row } = (await store.get('route/8000--a.example.test')) ?? {}
  t.match(row, { authorization: 'app' })
  for (const authorization of ['edge', '', null]) {
    const refused = await call('PUT', PORT, { body: { visibility: 'private', authorization } })
    t.match(refused, { status: 422, json: { field: '/authorization' } })
  }
  const changed = await call('PUT', PORT, { body: { visibility: 'private' } })
  t.notOk('authorization' in changed.json, 'PUT says all of it')
  t.notOk((await store.get('route/8000--a.example.test'))?.value.authorization)
})

t.test('lists what is declared, what is open, and the default port', async (t) => {
  const { call, store } = await vmApiFor(t)
  await call('PUT', VM, { body: { port: 5_000, ports: { 8000: { visibility: 'public' } } } })
  await putReport(store, reportOf('a', [22, 8_000]))
  const { json } = await call('GET', `${VM}/ports`)
  const ports = json.ports as Record<string, unknown>[]
  const flags = ports.map(({ port, url, visibility, isDefault, isDeclared, isOpen }) => [
    ...[port, url, visibility],
    [isDefault && 'default', isDeclared && 'declared', isOpen && 'open'].filter(Boolean).join(' '),
  ])
  t.same(flags, [
    [22, undefined, 'private', 'open'],
    [5_000, 'https://a.example.test', 'private', 'default'],
    [8_000, 'https://8000--a.example.test', 'public', 'declared open'],
  ])
  const first = await call('GET', `${VM}/ports?limit=2`)
  t.match(first.json, { ports: [{ port: 22 }, { port: 5_000 }], next: '5000' })
  t.match((await call('GET', `${VM}/ports?after=5000`)).json, { ports: [{ port: 8_000 }], next: undefined })
  await putReport(store, reportOf('a', [22], { state: 'stopped' }))
  t.match((await call('GET', `${VM}/ports/22`)).json, { isOpen: false })
})

t.test('the bare name follows the default port', async (t) => {
  const { call, store } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  const bare = async () => (await store.get('route/a.example.test'))?.value
  t.match(await bare(), { port: 80, visibility: 'private' })
  const chosen = await call('PUT', PORT, { body: { visibility: 'public', isDefault: true } })
  t.match(chosen.json, { isDefault: true, hostname: 'a.example.test', url: 'https://a.example.test' })
  t.match(await bare(), { port: 8_000, visibility: 'public' })
  t.match((await call('GET', VM)).json, { port: 8_000 })
  await call('PUT', PORT, { body: { visibility: 'private' } })
  t.match(await bare(), { port: 8_000, visibility: 'private' }, 'it stays the default until it is told')
  const kept = await call('DELETE', PORT)
  t.match(kept, { status: 409, json: { detail: /leads to the port 8000; make another one the default/ } })
  await call('PUT', `${VM}/ports/9000`, { body: { visibility: 'private', isDefault: false } })
  t.match(await bare(), { port: 8_000 }, 'another port that is not the default changes nothing')
  t.match((await call('PUT', PORT, { body: { visibility: 'private', isDefault: false } })).json, {
    isDefault: false,
  })
  t.match(await bare(), { port: 80 })
  t.notOk('port' in (await call('GET', VM)).json)
  t.equal((await call('DELETE', PORT)).status, 204)
  await putReport(store, reportOf('a', [9_000]))
  t.equal((await call('DELETE', `${VM}/ports/9000`)).status, 409, 'the default without being chosen')
})

t.test('refuses ports that there cannot be, and fields that there are not', async (t) => {
  const { call, revision } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  const before = await revision()
  for (const port of ['0', '65536', '-1', '080', '80.0', '8e3', 'x', '1'.repeat(400), '%00', '٨٠']) {
    const path = `${VM}/ports/${encodeURI(port).replaceAll('%25', '%')}`
    const answer = await call('PUT', path, { body: { visibility: 'public' } })
    t.match(answer, { status: 422, json: { code: 'api_record_invalid', field: '/port' } }, port)
    for (const method of ['GET', 'DELETE'])
      t.equal((await call(method, path)).status, 404, `${method} ${port}`)
  }
  const bodies = [
    ['/visibility', {}],
    ['/visibility', { visibility: 'open' }],
    ['/isDefault', { visibility: 'public', isDefault: 'yes' }],
    ['/port', { visibility: 'public', port: 8_000 }],
  ] as const
  for (const [field, body] of bodies)
    t.match(await call('PUT', PORT, { body }), { status: 422, json: { field } })
  t.equal((await call('PUT', '/v1/vms/nobody/ports/80', { body: { visibility: 'public' } })).status, 404)
  for (const method of ['POST', 'PATCH']) {
    t.match(await call(method, PORT), { status: 405, headers: { allow: 'GET, HEAD, PUT, DELETE' } })
  }
  t.match(await call('PUT', `${VM}/ports`), { status: 405, headers: { allow: 'GET, HEAD' } })
  t.equal(await revision(), before)
})

t.test('a VM has no more declared ports than it may', async (t) => {
  const { call } = await vmApiFor(t)
  const ports = Object.fromEntries(
    Array.from({ length: MAX_DECLARED_PORTS }, (_unused, at) => [at + 1, { visibility: 'public' }]),
  )
  await call('PUT', VM, { body: { ports } })
  const answer = await call('PUT', PORT, { body: { visibility: 'public' } })
  t.match(answer, {
    status: 422,
    json: { field: '/port', detail: new RegExp(`${MAX_DECLARED_PORTS} ports`) },
  })
  t.equal((await call('PUT', `${VM}/ports/7`, { body: { visibility: 'private' } })).status, 200)
})

t.test('a host name of a port that leads elsewhere is not taken', async (t) => {
  const { call, store } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  await store.put('route/8000--a.example.test', {
    ...{ hostname: '8000--a.example.test', visibility: 'public', state: 'running', generation: 0 },
    upstream: { host: '127.0.0.1', port: 1 },
  })
  const answer = await call('PUT', PORT, { body: { visibility: 'public' } })
  t.match(answer, { status: 409, json: { code: 'api_name_taken', field: '/port' } })
})

t.test('honours preconditions: a port that is not declared does not exist', async (t) => {
  const { call } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  const make = { body: { visibility: 'public' }, headers: { 'if-none-match': '*' } }
  const answers = await Promise.all([
    call('PUT', PORT, make),
    call('PUT', PORT, make),
    call('PUT', PORT, make),
  ])
  t.same(answers.map(({ status }) => status).sort(), [201, 412, 412])
  const etag = (await call('GET', PORT)).headers.etag ?? ''
  await call('PUT', `${VM}/ports/9000`, { body: { visibility: 'public' } })
  const stale = { headers: { 'if-match': etag } }
  t.equal(
    (await call('PUT', PORT, { ...stale, body: { visibility: 'private' } })).status,
    412,
    'the VM was changed',
  )
  t.equal((await call('DELETE', PORT, stale)).status, 412)
  const fresh = { headers: { 'if-match': (await call('GET', PORT)).headers.etag ?? '' } }
  t.equal((await call('DELETE', PORT, fresh)).status, 204)
})

t.test('ports that are declared at the same time are all there', async (t) => {
  const { call, store } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  const ports = Array.from({ length: 20 }, (_unused, at) => 3_000 + at)
  const answers = await Promise.all(
    ports.map((port) => call('PUT', `${VM}/ports/${port}`, { body: { visibility: 'public' } })),
  )
  t.ok(answers.every(({ status }) => status === 201))
  const bound = Object.keys(await documentsOf({ store }, 'route/'))
  t.same(bound, [...ports.map((port) => `${port}--a.example.test`), 'a.example.test'])
})

t.test('a pool touches the ports of its own VMs only, with the verb write', async (t) => {
  const { call, web, lab, webToken, revision } = await vmApiFor(t)
  await call('PUT', VM, { body: { pool: 'web', ports: { 8000: { visibility: 'private' } } } })
  const reader = await webToken('read', 'share')
  const before = await revision()
  const body = { visibility: 'public' }
  for (const [method, path] of [
    ['GET', `${VM}/ports`],
    ['GET', PORT],
    ['DELETE', PORT],
  ] as const) {
    t.equal((await call(method, path, { token: lab })).status, 404, `${method} ${path}`)
  }
  t.equal((await call('PUT', PORT, { token: lab, body })).status, 404)
  t.equal((await call('GET', PORT, { token: reader })).status, 200)
  t.equal((await call('PUT', PORT, { token: reader, body })).status, 403)
  t.equal((await call('DELETE', PORT, { token: reader })).status, 403)
  t.equal(await revision(), before)
  t.equal((await call('PUT', PORT, { token: web, body })).status, 200)
})
