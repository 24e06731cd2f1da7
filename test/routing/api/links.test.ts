/** Share links: what is signed, closing one, and ending all that it let in. */

import t, { type Test } from 'tap'
import { AuthError } from '../../../auth/errors.ts'
import { grantOf, putGrant } from '../vms/vm-documents.ts'
import type { ApiOptions } from './api-client.ts'
import { demandOf } from './test-signer.ts'
import { documentsOf, vmApiFor } from './vm-client.ts'

const VM = '/v1/vms/a'
const LINKS = `${VM}/links`
const NOW = new Date('2030-01-01T00:00:00Z')
const END = '2030-01-02T00:00:00Z'

/** With the VM `a`, whose port 8000 is declared. */
async function bedFor(t: Test, options: ApiOptions = {}) {
  const client = await vmApiFor(t, { now: () => NOW, ...options })
  await client.call('PUT', VM, { body: { pool: 'web', ports: { 8000: { visibility: 'private' } } } })
  const post = (body: object, token?: string) =>
    client.call('POST', LINKS, { body: { expiresAt: END, ...body }, ...(token && { token }) })
  return { ...client, post }
}

/** The grant that somebody has by a link. */
function viaOf(id: string, via: string) {
  return grantOf('a', id, { via, to: { kind: 'user', value: id } })
}

t.test('makes a link once, and shows what it says', async (t) => {
  const { call, store, post } = await bedFor(t, { urlOf: (hostname) => `https://${hostname}:8443` })
  const made = await post({ label: 'demo' })
  const { id, url, ...shown } = made.json
  t.match(id, /^[A-Za-z0-9]{12}$/)
  t.match(made, { status: 201, headers: { location: `${LINKS}/${id}`, 'cache-control': 'no-store' } })
  const { origin, pathname, searchParams } = new URL(String(url))
  t.strictSame([origin, pathname], ['https://a.example.test:8443', '/.landfall/share'])
  t.strictSame([...searchParams.keys()], ['link'])
  t.strictSame(demandOf(searchParams.get('link')), {
    kind: 'link',
    audience: 'a.example.test',
    subject: `link:${id}`,
    id,
    expiresAt: Date.parse(END) / 1_000,
    claims: { vm: 'a', login: true },
  })
  t.strictSame(shown, {
    ...{ vm: 'a', label: 'demo', hostname: 'a.example.test', expiresAt: END },
    ...{ needsLogin: true, isSingleUse: false, uses: 0 },
    ...{ createdAt: NOW.toISOString(), createdBy: 'bootstrap', revision: shown.revision },
  })
  t.strictSame((await call('GET', `${LINKS}/${id}`)).json, { id, ...shown })
  t.strictSame((await call('GET', LINKS)).json, { links: [{ id, ...shown }] })
  const grant = { id, to: { kind: 'link', value: id }, role: 'viewer', expiresAt: END }
  t.strictSame((await store.get('route/a.example.test'))?.value.grants, [grant])
})

t.test('is for a host name and ports, with login or without, for one or many', async (t) => {
  const { post } = await bedFor(t)
  const open = await post({ port: 8_000, needsLogin: false, isSingleUse: true })
  t.match(open.json, { hostname: '8000--a.example.test', ports: [8_000] })
  t.match(open.json, { needsLogin: false, isSingleUse: true })
  const { audience, claims } = demandOf(new URL(String(open.json.url)).searchParams.get('link'))
  t.strictSame([audience, claims], ['8000--a.example.test', { vm: 'a', login: false }])
  t.match((await post({ ports: [9_000, 80] })).json, { hostname: 'a.example.test', ports: [80, 9_000] })
})

t.test('names the field that is wrong, and changes nothing', async (t) => {
  const { call, post, revision } = await bedFor(t)
  const before = await revision()
  const cases = [
    ['/expiresAt', { expiresAt: undefined }],
    ['/expiresAt', { expiresAt: NOW.toISOString() }],
    ['/expiresAt', { expiresAt: '2031-01-01T00:00:00.001Z' }],
    ['/hostname', { hostname: 'b.example.test' }],
    ['/port', { port: 9_000 }],
    ['/ports', { ports: [] }],
    ['/needsLogin', { needsLogin: 'no' }],
    ['/isSingleUse', { isSingleUse: 1 }],
    ['/uses', { uses: 0 }],
    ['/role', { role: 'root' }],
  ] as const
  for (const [field, body] of cases) {
    const answer = await post(body)
    t.match(answer, { status: 422, json: { code: 'api_record_invalid', field } }, JSON.stringify(body))
  }
  t.equal((await call('DELETE', `${LINKS}/x?access=all`)).status, 400)
  t.equal((await call('PUT', `${LINKS}/x`, { body: {} })).status, 405)
  t.equal(await revision(), before)
})

t.test('a closed one lets nobody new in, and whoever is in stays', async (t) => {
  let now = NOW
  const { call, store, post, audited } = await bedFor(t, { now: () => now })
  const id = String((await post({})).json.id)
  await putGrant(store, viaOf('bob', id))
  t.equal((await call('DELETE', `${LINKS}/${id}`)).status, 204)
  now = new Date(NOW.getTime() + 1_000)
  const closed = await call('GET', `${LINKS}/${id}`)
  t.match(closed, { status: 200, json: { closedAt: NOW.toISOString() } })
  t.match((await store.get('route/a.example.test'))?.value.grants, { length: 2 })
  t.equal((await call('DELETE', `${LINKS}/${id}?access=keep`)).status, 204)
  t.strictSame((await call('GET', `${LINKS}/${id}`)).json, closed.json, 'it was closed once')
  const lines = (await audited()).filter((line) => line.includes(id))
  t.same(lines, [`create grant/a/${id}`, `update grant/a/${id}`])
})

t.test('ending the access takes back everything that it gave, and nothing else', async (t) => {
  const { call, store, post, audited } = await bedFor(t)
  const [one, other] = [String((await post({})).json.id), String((await post({ ports: [1] })).json.id)]
  for (const grant of [viaOf('bob', one), viaOf('cy', one), viaOf('dan', other), grantOf('a', 'eve')]) {
    await putGrant(store, grant)
  }
  t.equal((await call('DELETE', `${LINKS}/${one}`)).status, 204)
  const stale = { headers: { 'if-match': '"1"' } }
  t.equal((await call('DELETE', `${LINKS}/${one}?access=end`, stale)).status, 412)
  const { revision: before } = await store.list('')
  t.equal((await call('DELETE', `${LINKS}/${one}?access=end`)).status, 204)
  t.same(Object.keys(await documentsOf({ store }, 'grant/a/')).sort(), [other, 'dan', 'eve'].sort())
  const { grants } = (await store.get('route/a.example.test'))?.value ?? {}
  t.same(
    (grants as { id: string }[]).map(({ id }) => id),
    ['dan', 'eve'],
  )
  const ended = (await audited()).filter((line) => line.startsWith('delete grant/'))
  t.same(ended.sort(), [`delete grant/a/${one}`, 'delete grant/a/bob', 'delete grant/a/cy'].sort())
  const written = (await store.list('audit/')).documents.filter(({ revision }) => revision > before)
  t.equal(new Set(written.map(({ value }) => value.requestId)).size, 1, 'in one commit')
  t.equal((await call('DELETE', `${LINKS}/${one}?access=end`)).status, 404)
})

t.test('one that has run out is deleted', async (t) => {
  let now = NOW
  const { call, store, post } = await bedFor(t, { now: () => now })
  const [open, closed] = [String((await post({})).json.id), String((await post({})).json.id)]
  await putGrant(store, viaOf('bob', open))
  await call('DELETE', `${LINKS}/${closed}`)
  now = new Date(END)
  for (const id of [open, closed]) {
    t.equal((await call('DELETE', `${LINKS}/${id}`)).status, 204)
    t.equal((await call('GET', `${LINKS}/${id}`)).status, 404)
  }
  t.equal((await call('GET', `${VM}/grants/bob`)).status, 200)
})

t.test('is for those who may share the VM', async (t) => {
  const { call, post, lab, webToken, revision } = await bedFor(t)
  const id = String((await post({})).json.id)
  const [reader, sharer] = [await webToken('read', 'write'), await webToken('share')]
  const before = await revision()
  for (const [method, path] of [
    ['GET', LINKS],
    ['GET', `${LINKS}/${id}`],
    ['DELETE', `${LINKS}/${id}`],
    ['DELETE', `${LINKS}/${id}?access=end`],
  ] as const) {
    t.equal((await call(method, path, { token: lab })).status, 404, `${method} ${path}`)
  }
  t.equal((await post({}, lab)).status, 404)
  t.equal((await post({}, reader)).status, 403)
  t.equal((await call('DELETE', `${LINKS}/${id}`, { token: reader })).status, 403)
  t.equal((await call('GET', `${LINKS}/${id}`, { token: reader })).status, 200)
  t.equal(await revision(), before)
  t.equal((await post({}, sharer)).status, 201)
  t.equal((await call('DELETE', `${LINKS}/${id}?access=end`, { token: sharer })).status, 204)
})

t.test('other grants are no links, and a token is none', async (t) => {
  const { call, store } = await bedFor(t)
  await putGrant(store, grantOf('a', 'g'))
  const { id } = (await call('POST', `${VM}/tokens`, { body: { expiresAt: END } })).json
  t.strictSame((await call('GET', LINKS)).json, { links: [] })
  for (const other of ['g', id]) {
    t.equal((await call('GET', `${LINKS}/${other}`)).status, 404)
    t.equal((await call('DELETE', `${LINKS}/${other}?access=end`)).status, 404)
    t.equal((await call('GET', `${VM}/grants/${other}`)).status, 200)
  }
})

t.test('one that cannot be signed leaves nothing behind', async (t) => {
  const sign = () => Promise.reject(new AuthError('auth_stale', 'no-key'))
  const { post, revision } = await bedFor(t, { signer: { sign } })
  const before = await revision()
  t.match(await post({}), { status: 503, json: { code: 'auth_stale' } })
  t.equal(await revision(), before)
})
