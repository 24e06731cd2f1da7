/** Grants: whom they mean, which ports they reach, and that they never reach another. */

import fc from 'fast-check'
import t from 'tap'
import { putReport, reportOf, rowsOf } from '../vms/vm-documents.ts'
import { tokenFor } from './api-client.ts'
import { documentsOf, vmApiFor } from './vm-client.ts'

const VM = '/v1/vms/a'
const GRANTS = `${VM}/grants`
const ANN = { to: { kind: 'email', value: 'ann@example.com' }, role: 'viewer' }

t.test('makes, shows, changes and takes back a grant', async (t) => {
  const { call, store, audited } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  const created = await call('POST', GRANTS, { body: ANN })
  const { id, createdAt, revision } = created.json
  t.match(created, { status: 201, headers: { location: `${GRANTS}/${id}`, etag: `"${revision}"` } })
  t.match(id, /^[\w-]{12}$/)
  t.strictSame(created.json, { id, vm: 'a', ...ANN, createdAt, createdBy: 'bootstrap', revision })
  t.strictSame((await call('GET', `${GRANTS}/${id}`)).json, created.json)
  t.strictSame((await call('GET', GRANTS)).json, { grants: [created.json] })
  const expiresAt = '2999-01-01T00:00:00Z'
  const body = { ...ANN, role: 'root', ports: [9_000, 80, 80], expiresAt }
  const changed = await call('PUT', `${GRANTS}/${id}`, { body })
  t.match(changed, { status: 200, json: { role: 'root', ports: [80, 9_000], expiresAt, createdAt } })
  t.match((await store.get('route/a.example.test'))?.value.grants, [{ id, role: 'root', expiresAt }])
  const own = await call('PUT', `${GRANTS}/mine`, { body: { ...ANN, ports: [22] } })
  t.match(own, { status: 201, headers: { location: `${GRANTS}/mine` }, json: { id: 'mine' } })
  t.equal((await call('DELETE', `${GRANTS}/${id}`)).status, 204)
  t.equal((await call('DELETE', `${GRANTS}/${id}`)).status, 404)
  t.notOk((await store.get('route/a.example.test'))?.value.grants)
  const lines = (await audited()).filter((line) => line.includes('grant/'))
  t.same(lines, [
    `create grant/a/${id}`,
    `update grant/a/${id}`,
    'create grant/a/mine',
    `delete grant/a/${id}`,
  ])
})

t.test('stores everybody in one form', async (t) => {
  const client = await vmApiFor(t)
  const { call } = client
  await call('PUT', VM, { body: {} })
  const { id } = await tokenFor(client, [{ pool: 'web', verbs: ['read'] }])
  const cases = [
    ['email', 'Ann.O+x@EXAMPLE.Com', 'ann.o+x@example.com'],
    ['email', 'jörg@bücher.example', 'jörg@xn--bcher-kva.example'],
    ['email', 'JO\u0308RG@example.com.', 'jörg@example.com'],
    ['domain', 'Bücher.Example.', 'xn--bcher-kva.example'],
    ['user', 'github|1234', 'github|1234'],
    ['user', 'Ann', 'Ann'],
    ['token', id, id],
    ['token', 'AAAAAAAAAAAA', 'AAAAAAAAAAAA'],
  ] as const
  for (const [kind, value, stored] of cases) {
    const answer = await call('POST', GRANTS, { body: { to: { kind, value }, role: 'viewer' } })
    t.match(answer, { status: 201, json: { to: { kind, value: stored } } }, `${kind} ${value}`)
  }
})

t.test('names the field that is wrong, and changes nothing', async (t) => {
  const { call, revision } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  const before = await revision()
  const to = (kind: string, value: unknown) => ({ ...ANN, to: { kind, value } })
  const cases = [
    ['/to', { role: 'viewer' }],
    ['/to', { ...ANN, to: 'ann@example.com' }],
    ['/to/kind', to('everybody', 'x')],
    ['/to/value', to('email', '')],
    ['/to/x', { ...ANN, to: { ...ANN.to, x: 1 } }],
    ...[
      'ann',
      'ann@',
      '@example.com',
      'ann@example',
      'a@b@example.com',
      'a b@example.com',
      '.a@example.com',
      'a..b@example.com',
      '"a"@example.com',
      'a@[127.0.0.1]',
      'a@127.0.0.1',
      `${'x'.repeat(65)}@example.com`,
      'a\u0000@example.com',
      'Ann <a@example.com>',
    ].map((value) => ['/to/value', to('email', value)] as const),
    ...['com', '@example.com', '*.example.com', 'exa mple.com', '10.0.0.1'].map(
      (value) => ['/to/value', to('domain', value)] as const,
    ),
    ...['a b', 'ä', '\n'].map((value) => ['/to/value', to('user', value)] as const),
    ...['', '../x', 'lf_x'].map((value) => ['/to/value', to('token', value)] as const),
    ['/to/kind', to('link', 'x'.repeat(12))],
    ['/label', { ...ANN, label: 'x'.repeat(201) }],
    ['/role', { to: ANN.to }],
    ['/role', { ...ANN, role: 'owner' }],
    ['/ports', { ...ANN, ports: [] }],
    ['/ports', { ...ANN, ports: 80 }],
    ['/ports/0', { ...ANN, ports: [0] }],
    ['/ports/1', { ...ANN, ports: [80, 65_536] }],
    ['/expiresAt', { ...ANN, expiresAt: '2001-01-01T00:00:00Z' }],
    ['/expiresAt', { ...ANN, expiresAt: 'tomorrow' }],
    ['/createdBy', { ...ANN, createdBy: 'me' }],
  ] as const
  for (const [field, body] of cases) {
    const answer = await call('POST', GRANTS, { body })
    t.match(answer, { status: 422, json: { code: 'api_record_invalid', field } }, JSON.stringify(body))
  }
  for (const id of ['x'.repeat(65), 'a.b', '%2e%2e', 'a%2Fb', 'a%00']) {
    t.match(await call('PUT', `${GRANTS}/${id}`, { body: ANN }), { status: 422, json: { field: '/id' } }, id)
    t.equal((await call('GET', `${GRANTS}/${id}`)).status, 404, id)
  }
  t.equal((await call('POST', '/v1/vms/nobody/grants', { body: ANN })).status, 404)
  t.match(await call('PUT', GRANTS), { status: 405, headers: { allow: 'GET, HEAD, POST' } })
  t.equal(await revision(), before)
})

t.test('an expiry is measured against the clock', async (t) => {
  let now = new Date('2030-01-01T00:00:00Z')
  const { call } = await vmApiFor(t, { now: () => now })
  await call('PUT', VM, { body: {} })
  const soon = { ...ANN, expiresAt: '2030-01-01T00:00:01Z' }
  t.equal((await call('POST', GRANTS, { body: { ...ANN, expiresAt: '2030-01-01T00:00:00Z' } })).status, 422)
  t.equal((await call('POST', GRANTS, { body: soon })).status, 201)
  t.equal((await call('POST', GRANTS, { body: ANN })).status, 409)
  now = new Date('2030-01-01T00:00:01Z')
  t.equal((await call('POST', GRANTS, { body: soon })).status, 422)
  t.equal((await call('POST', GRANTS, { body: ANN })).status, 201, 'one that ran out is not in the way')
})

t.test('the same is granted once', async (t) => {
  const { call } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  const { json } = await call('POST', GRANTS, { body: { ...ANN, ports: [80, 81] } })
  const twice = {
    body: { to: { kind: 'email', value: 'ANN@example.com' }, role: 'root', ports: [81, 80, 81] },
  }
  const answer = await call('POST', GRANTS, twice)
  t.match(answer, {
    status: 409,
    json: { code: 'api_name_taken', field: '/to', detail: new RegExp(String(json.id)) },
  })
  t.equal((await call('PUT', `${GRANTS}/mine`, twice)).status, 409)
  t.equal((await call('PUT', `${GRANTS}/${json.id}`, twice)).status, 200, 'changing it is something else')
  t.equal((await call('POST', GRANTS, { body: ANN })).status, 201, 'the default port is no port of its own')
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => call('POST', GRANTS, { body: { ...ANN, ports: [99] } })),
  )
  t.same(answers.map(({ status }) => status).sort(), [201, ...Array.from({ length: 9 }, () => 409)])
})

t.test('a retry with its Idempotency-Key is answered with the same grant', async (t) => {
  const { call, store } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  const again = { body: ANN, headers: { 'idempotency-key': 'one' } }
  const [first, second] = [await call('POST', GRANTS, again), await call('POST', GRANTS, again)]
  t.match([first.status, second.status], [201, 201])
  t.equal(first.text, second.text)
  t.equal(Object.keys(await documentsOf({ store }, 'grant/')).length, 1)
})

t.test('a VM has a hundred grants at most', async (t) => {
  const { call } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  const statuses = new Set<unknown>()
  for (let made = 0; made < 100; made += 1) {
    const body = { to: { kind: 'user', value: `u${made}` }, role: 'viewer' }
    statuses.add((await call('PUT', `${GRANTS}/g${made}`, { body })).status)
  }
  t.same([...statuses], [201])
  t.match(await call('POST', GRANTS, { body: ANN }), {
    status: 422,
    json: { field: '/to', detail: /100 grants/ },
  })
  t.equal((await call('PUT', `${GRANTS}/g7`, { body: ANN })).status, 200)
  const page = await call('GET', `${GRANTS}?limit=75`)
  t.match(page.json, { next: String })
  t.match((await call('GET', `${GRANTS}?limit=75&after=${page.json.next}`)).json, {
    grants: { length: 25 },
    next: undefined,
  })
})

t.test('takes the verb share, in the pool of the VM', async (t) => {
  const { call, lab, webToken, revision } = await vmApiFor(t)
  await call('PUT', VM, { body: { pool: 'web' } })
  await call('PUT', `${GRANTS}/g`, { body: ANN })
  const [reader, sharer] = [await webToken('read', 'write'), await webToken('share')]
  const before = await revision()
  t.equal((await call('GET', GRANTS, { token: lab })).status, 404)
  t.equal((await call('GET', `${GRANTS}/g`, { token: lab })).status, 404)
  t.equal((await call('POST', GRANTS, { token: lab, body: ANN })).status, 404)
  t.equal((await call('DELETE', `${GRANTS}/g`, { token: lab })).status, 404)
  t.equal((await call('GET', `${GRANTS}/g`, { token: reader })).status, 200)
  const refused = await call('POST', GRANTS, { token: reader, body: ANN })
  t.match(refused, { status: 403, json: { detail: /"share" in the pool "web"/ } })
  t.equal((await call('DELETE', `${GRANTS}/g`, { token: reader })).status, 403)
  t.equal(await revision(), before)
  t.equal((await call('PUT', `${GRANTS}/h`, { token: sharer, body: { ...ANN, ports: [1] } })).status, 201)
  t.equal((await call('DELETE', `${GRANTS}/g`, { token: sharer })).status, 204)
})

t.test('honours If-Match, and mends a grant that cannot be read', async (t) => {
  const { call, store } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  const { headers } = await call('PUT', `${GRANTS}/g`, { body: ANN })
  t.equal((await call('PUT', `${GRANTS}/g`, { body: ANN, headers: { 'if-none-match': '*' } })).status, 412)
  t.equal((await call('DELETE', `${GRANTS}/g`, { headers: { 'if-match': '"1"' } })).status, 412)
  t.equal(
    (await call('GET', `${GRANTS}/g`, { headers: { 'if-none-match': headers.etag ?? '' } })).status,
    304,
  )
  for (const method of ['PUT', 'DELETE']) {
    await store.put('grant/a/g', { id: 'g' })
    t.match((await call('GET', GRANTS)).json, { grants: [] })
    const answer = await call(method, `${GRANTS}/g`, method === 'PUT' ? { body: ANN } : {})
    t.match(answer.status, method === 'PUT' ? 200 : 204)
  }
})

const PORT = fc.constantFrom(80, 443, 8_000, 9_000)
const STEP = fc.oneof(
  fc.record({
    kind: fc.constant('grant' as const),
    id: fc.constantFrom('g', 'h', 'i'),
    ports: fc.option(fc.uniqueArray(PORT, { minLength: 1 })),
  }),
  fc.record({ kind: fc.constant('ungrant' as const), id: fc.constantFrom('g', 'h', 'i') }),
  fc.record({ kind: fc.constant('port' as const), port: PORT, isDefault: fc.boolean() }),
  fc.record({ kind: fc.constant('report' as const), ports: fc.uniqueArray(PORT) }),
)

t.test('a grant reaches the ports that it names, or the default port, and never another', async (t) => {
  const { call, store } = await vmApiFor(t)
  const property = fc.asyncProperty(fc.array(STEP, { maxLength: 8 }), async (steps) => {
    await call('DELETE', VM)
    await call('PUT', VM, { body: {} })
    for (const step of steps) {
      if (step.kind === 'report') await putReport(store, reportOf('a', step.ports))
      else if (step.kind === 'ungrant') await call('DELETE', `${GRANTS}/${step.id}`)
      else if (step.kind === 'port') {
        await call('PUT', `${VM}/ports/${step.port}`, {
          body: { visibility: 'private', isDefault: step.isDefault },
        })
      } else {
        const to = { kind: 'user', value: step.id }
        await call('PUT', `${GRANTS}/${step.id}`, {
          body: { to, role: 'viewer', ...(step.ports && { ports: step.ports }) },
        })
      }
    }
    const grants = (await call('GET', GRANTS)).json.grants as { id: string; ports?: number[] }[]
    const { ports } = (await call('GET', `${VM}/ports`)).json as {
      ports: { port: number; isDefault: boolean }[]
    }
    const main = ports.find(({ isDefault }) => isDefault)?.port ?? 0
    for (const row of Object.values((await rowsOf(store)).stored)) {
      const wanted = grants.filter((grant) => (grant.ports ?? [main]).includes(row.port ?? -1))
      const [there, expected] = [row.grants ?? [], wanted].map((list) =>
        list
          .map(({ id }) => id)
          .sort()
          .join(),
      )
      if (there !== expected)
        throw new Error(`${row.hostname} port ${row.port}: ${there} and not ${expected}`)
    }
  })
  await fc.assert(property, { numRuns: 60 })
  t.pass()
})
