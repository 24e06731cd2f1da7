/** Grants that came by a token or a share link, and what of them can be changed as a grant. */

import t from 'tap'
import { grantOf, putGrant } from '../vms/vm-documents.ts'
import { vmApiFor } from './vm-client.ts'

const VM = '/v1/vms/a'
const GRANTS = `${VM}/grants`
const ANN = { to: { kind: 'email', value: 'ann@example.com' }, role: 'viewer' }

t.test('keeps a label, and by which link somebody came while the grant is theirs', async (t) => {
  const { call, store } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  const made = await call('PUT', `${GRANTS}/g`, { body: { ...ANN, label: 'for the demo' } })
  t.match(made, { status: 201, json: { label: 'for the demo' } })
  t.notOk((await call('PUT', `${GRANTS}/g`, { body: ANN })).json.label, 'PUT says all of it')
  await putGrant(store, grantOf('a', 'h', { to: { kind: 'user', value: 'bob' }, via: 'abcdefghijkl' }))
  t.match((await call('GET', `${GRANTS}/h`)).json, { via: 'abcdefghijkl' })
  const bob = { to: { kind: 'user', value: 'bob' }, role: 'root' }
  t.match((await call('PUT', `${GRANTS}/h`, { body: bob })).json, { role: 'root', via: 'abcdefghijkl' })
  const cy = await call('PUT', `${GRANTS}/h`, { body: { ...bob, to: { kind: 'user', value: 'cy' } } })
  t.equal(cy.status, 200)
  t.notOk(cy.json.via, 'it is for somebody else now')
})

t.test('what a token or a share link says is not changed here, only taken back', async (t) => {
  const { call, revision } = await vmApiFor(t)
  await call('PUT', VM, { body: {} })
  const body = { expiresAt: new Date(Date.now() + 86_400_000).toISOString() }
  for (const kind of ['tokens', 'links']) {
    const { id } = (await call('POST', `${VM}/${kind}`, { body })).json
    t.match((await call('GET', `${GRANTS}/${id}`)).json, { id, to: { value: id } })
    const before = await revision()
    const refused = await call('PUT', `${GRANTS}/${id}`, { body: ANN })
    t.match(refused, {
      status: 409,
      json: { code: 'api_grant_issued', detail: `It is at ${VM}/${kind}/${id}.` },
    })
    const twin = await call('POST', GRANTS, {
      body: { to: { kind: kind.slice(0, -1), value: id }, role: 'root', ports: [22] },
    })
    t.match(twin, { status: 422, json: { field: kind === 'tokens' ? '/to/value' : '/to/kind' } })
    t.match(twin.json.detail, new RegExp(`${VM}/${kind}`))
    t.equal(await revision(), before)
    t.equal((await call('DELETE', `${GRANTS}/${id}`)).status, 204)
    t.equal((await call('GET', `${VM}/${kind}/${id}`)).status, 404)
  }
})
