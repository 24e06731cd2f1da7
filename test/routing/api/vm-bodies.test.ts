/** What may be asked of a VM: bodies, names and pools that are refused leave everything as it was. */

import t from 'tap'
import { vmApiFor } from './vm-client.ts'

const VM = '/v1/vms/a'

t.test('names the field of a body that is wrong, and changes nothing', async (t) => {
  const { call, revision } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  const before = await revision()
  const many = Object.fromEntries(
    Array.from({ length: 101 }, (_unused, at) => [at + 1, { visibility: 'public' }]),
  )
  const cases = [
    ['/imag', { imag: 'x' }],
    ['/name', { name: 'b' }],
    ['/createdAt', { createdAt: '2026-01-01T00:00:00Z' }],
    ['/image', { image: '' }],
    ['/image', { image: 'a b' }],
    ['/state', { state: 'paused' }],
    ['/port', { port: 0 }],
    ['/port', { port: 65_536 }],
    ['/port', { port: 80.5 }],
    ['/port', { port: '80' }],
    ['/port', { port: 1e300 }],
    ['/pool', { pool: null }],
    ['/pool', { pool: '../x' }],
    ['/pool', { pool: 'web' }],
    ['/comment', { comment: 'x'.repeat(201) }],
    ['/ports', { ports: many }],
    ['/ports/0', { ports: { 0: { visibility: 'public' } } }],
    ['/ports/65536', { ports: { 65536: { visibility: 'public' } } }],
    ['/ports/80/visibility', { ports: { 80: { visibility: 'open' } } }],
    ['', []],
    ['', 'null'],
  ] as const
  for (const [field, body] of cases) {
    const answer = await call('PUT', VM, { body })
    t.match(answer, { status: 422, json: { code: 'api_record_invalid' } }, JSON.stringify(body).slice(0, 80))
    t.equal(answer.json.field ?? '', field, JSON.stringify(body).slice(0, 80))
  }
  t.match(await call('PUT', VM, { body: { pool: 'web' } }), {
    json: { detail: /stays in its pool, which is "default"/ },
  })
  for (const wait of ['-1', '121', '1.5', 'x', '', '1&wait=2', '007']) {
    t.equal((await call('PUT', `${VM}?wait=${wait}`, { body: {} })).status, 400, wait)
  }
  t.equal(await revision(), before)
})

t.test('refuses names that mean something else', async (t) => {
  const { call, revision } = await vmApiFor(t)
  const before = await revision()
  const reserved = ['acme', 'admin', 'auth', 'ns', '8000--a', '1--b']
  for (const name of reserved) {
    t.match(
      await call('PUT', `/v1/vms/${name}`, { body: {} }),
      { status: 409, json: { code: 'api_name_reserved', field: '/vm' } },
      name,
    )
  }
  const wrong = [
    'A',
    'a.b',
    '-a',
    'a_b',
    'x'.repeat(57),
    'ä',
    '%2e%2e',
    'a%00',
    'a%2Fb',
    '__proto__',
    'a%20b',
    'x'.repeat(2_000),
  ]
  for (const name of wrong) {
    const path = `/v1/vms/${encodeURI(name).replaceAll('%25', '%')}`
    t.match(await call('PUT', path, { body: {} }), { status: 422, json: { field: '/vm' } }, name)
    for (const method of ['GET', 'DELETE', 'HEAD'])
      t.equal((await call(method, path)).status, 404, `${method} ${name}`)
  }
  t.equal(
    (await call('PUT', `/v1/vms/${'x'.repeat(56)}`, { body: { ports: { 65535: { visibility: 'public' } } } }))
      .status,
    201,
  )
  t.equal((await call('GET', '/v1/vms/constructor')).status, 404)
  t.ok((await revision()) > before)
})

t.test('a VM that had a name before it was reserved keeps it', async (t) => {
  const { call, store } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  const { value } = (await store.get('vm/a')) ?? {}
  await store.put('vm/acme', { ...value, name: 'acme' })
  const changed = await call('PUT', '/v1/vms/acme', { body: { comment: 'still here' } })
  t.match(changed, { status: 200, json: { comment: 'still here' } })
  t.equal((await call('DELETE', '/v1/vms/acme')).status, 204)
  t.equal((await call('PUT', '/v1/vms/acme', { body: {} })).status, 409, 'and nobody has it again')
})

t.test('takes no name that leads elsewhere', async (t) => {
  const { call, store } = await vmApiFor(t)
  await call('PUT', '/v1/routes/b.example.test', { body: { upstream: '127.0.0.1:9000' } })
  await call('PUT', VM, { body: {} })
  await call('PUT', '/v1/routes/c.example.test', { body: { vm: 'a' } })
  for (const name of ['b', 'c']) {
    const answer = await call('PUT', `/v1/vms/${name}`, { body: {} })
    t.match(answer, { status: 409, json: { code: 'api_name_taken', field: '/vm' } })
    t.equal(await store.get(`vm/${name}`), undefined)
  }
})

t.test('chooses the pool that can only be meant, and no other', async (t) => {
  const { call, web, revision } = await vmApiFor(t)
  t.match((await call('PUT', VM, { body: {}, token: web })).json, { pool: 'web' })
  t.match((await call('PUT', '/v1/vms/b', { body: {} })).json, { pool: 'default' }, 'of several')
  const before = await revision()
  const lab = await call('PUT', '/v1/vms/c', { body: { pool: 'lab' }, token: web })
  t.match(lab, { status: 403, json: { code: 'api_forbidden', detail: /"write" in the pool "lab"/ } })
  const unknown = await call('PUT', '/v1/vms/c', { body: { pool: 'nowhere' } })
  t.match(unknown, { status: 422, json: { code: 'api_pool_unknown', field: '/pool' } })
  t.equal(await revision(), before)
})
