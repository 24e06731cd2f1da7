/** Whose a custom domain is, while several want it or it changes under way. */

import t from 'tap'
import { dnsServerFor } from '../../helpers/scripted-dns.ts'
import { documentsOf, vmApiFor } from './vm-client.ts'

const SHOP = '/v1/domains/www.shop.example'
const CHECK = `${SHOP}/check`
const DAY_MS = 86_400_000

t.test('a name that leads elsewhere is not to be had', async (t) => {
  const { zone, resolver } = await dnsServerFor(t, [['www.shop.example', { cname: 'a.example.test' }]])
  const { call, web, store } = await vmApiFor(t, { dns: resolver })
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  await call('PUT', '/v1/vms/b', { body: { pool: 'lab' } })
  const lead = { body: { vm: 'b' } }
  await call('PUT', '/v1/routes/www.shop.example', lead)
  t.match(await call('PUT', SHOP, { body: { vm: 'a' }, token: web }), {
    status: 409,
    json: { code: 'api_name_taken' },
  })
  await call('DELETE', '/v1/routes/www.shop.example')
  t.equal((await call('PUT', SHOP, { body: { vm: 'a' }, token: web })).status, 201)
  await call('PUT', '/v1/routes/www.shop.example', lead)
  t.match(await call('POST', CHECK, { token: web }), { status: 409, json: { code: 'api_name_taken' } })
  t.match((await store.get('route/www.shop.example'))?.value, { vm: 'b' })
  t.match((await call('GET', SHOP)).json, { state: 'pending' })
  zone.clear()
})

t.test('a domain is of the pool that asked first, for a week if it is not proven', async (t) => {
  let now = new Date('2030-01-01T00:00:00Z')
  const { call, web, lab, store } = await vmApiFor(t, { now: () => now })
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  await call('PUT', '/v1/vms/b', { body: { pool: 'lab' } })
  const first = await call('PUT', SHOP, { body: { vm: 'a' }, token: web })
  const ask = () => call('PUT', SHOP, { body: { vm: 'b' }, token: lab })
  t.match(await ask(), { status: 409, json: { code: 'api_name_taken', field: '/hostname' } })
  t.equal((await call('GET', SHOP, { token: lab })).status, 404)
  t.equal((await call('POST', CHECK, { token: lab })).status, 404)
  t.equal((await call('DELETE', SHOP, { token: lab })).status, 404)
  const route = await call('PUT', '/v1/routes/www.shop.example', { body: { vm: 'b' }, token: lab })
  t.match(route, { status: 409, json: { code: 'api_domain_unproven' } })
  t.notMatch(route.text, String(first.json.challenge), 'nobody else is told the value')
  now = new Date(now.getTime() + 7 * DAY_MS)
  t.equal((await ask()).status, 409)
  now = new Date(now.getTime() + 1)
  const taken = await ask()
  t.match(taken, { status: 200, json: { vm: 'b', state: 'pending', createdAt: now.toISOString() } })
  t.not(taken.json.challenge, first.json.challenge)
  t.same(Object.keys(await documentsOf({ store }, 'claim/')), ['b/www.shop.example'])
  t.equal((await call('GET', SHOP, { token: web })).status, 404)
  await call('PUT', SHOP, { body: { vm: 'b', proof: 'operator' } })
  now = new Date(now.getTime() + 365 * DAY_MS)
  t.match(await call('PUT', SHOP, { body: { vm: 'a' }, token: web }), { status: 409 }, 'proven for ever')
  const stolen = await call('PUT', '/v1/routes/www.shop.example', { body: { vm: 'a' }, token: web })
  t.match(stolen, { status: 409, json: { code: 'api_name_taken' } })
  await call('DELETE', '/v1/vms/b')
  t.equal((await call('PUT', SHOP, { body: { vm: 'a' }, token: web })).status, 201, 'free again')
})

t.test('a proven domain stays with its pool, also while no route leads it anywhere', async (t) => {
  let now = new Date('2030-01-01T00:00:00Z')
  const { call, web, lab, store } = await vmApiFor(t, { now: () => now })
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  await call('PUT', '/v1/vms/b', { body: { pool: 'lab' } })
  await call('PUT', SHOP, { body: { vm: 'b', proof: 'operator' } })
  const route = '/v1/routes/www.shop.example'
  t.equal((await call('DELETE', route, { token: lab })).status, 204)
  now = new Date(now.getTime() + 365 * DAY_MS)
  for (const path of [SHOP, route]) {
    const answer = await call('PUT', path, { body: { vm: 'a' }, token: web })
    t.match(answer, { status: 409, json: { code: 'api_name_taken' } }, path)
  }
  t.equal((await call('GET', route)).status, 404)
  t.match((await call('GET', SHOP)).json, { vm: 'b' })
  await store.delete('vm/b')
  t.equal((await call('PUT', SHOP, { body: { vm: 'a' }, token: web })).status, 200, 'unless its VM is gone')
})

t.test('a proof counts only for what was asked', async (t) => {
  const asked = Promise.withResolvers<void>()
  const answer = Promise.withResolvers<string[][]>()
  const resolveTxt = () => {
    asked.resolve()
    return answer.promise
  }
  const resolveCname = () => Promise.reject(Object.assign(new Error('none'), { code: 'ENODATA' }))
  const { call, web, store } = await vmApiFor(t, { dns: { resolveTxt, resolveCname } })
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  await call('PUT', '/v1/vms/c', { body: { pool: 'web' } })
  const { json } = await call('PUT', SHOP, { body: { vm: 'a' }, token: web })
  const checked = call('POST', CHECK, { token: web })
  await asked.promise
  t.equal((await call('PUT', SHOP, { body: { vm: 'c' }, token: web })).status, 200)
  answer.resolve([[`landfall=${json.challenge}`]])
  t.match(await checked, { status: 412, json: { code: 'api_revision_conflict' } })
  t.match((await call('GET', SHOP)).json, { vm: 'c', state: 'pending' })
  t.equal(await store.get('route/www.shop.example'), undefined)
})

t.test('two pools that ask at once: one has it', async (t) => {
  const { call, web, lab, store } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: { pool: 'web' } })
  await call('PUT', '/v1/vms/b', { body: { pool: 'lab' } })
  for (let round = 0; round < 10; round += 1) {
    const path = `/v1/domains/d${round}.example`
    const answers = await Promise.all([
      call('PUT', path, { body: { vm: 'a' }, token: web }),
      call('PUT', path, { body: { vm: 'b' }, token: lab }),
    ])
    t.same(answers.map(({ status }) => status).sort(), [201, 409])
    const claims = Object.keys(await documentsOf({ store }, 'claim/'))
    t.equal(claims.filter((key) => key.endsWith(`/d${round}.example`)).length, 1)
  }
})
