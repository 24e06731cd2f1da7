/** A CNAME that was left behind proves a domain for nobody but the pool that had the VM's name. */

import t, { type Test } from 'tap'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { type DnsAnswer, dnsServerFor } from '../../helpers/scripted-dns.ts'
import { documentsOf, vmApiFor } from './vm-client.ts'
import { storeWith } from './watched-store.ts'

const SHOP = '/v1/domains/www.shop.example'
const CHECK = `${SHOP}/check`
const TXT = '_landfall-challenge.www.shop.example'
const LEFT: readonly (readonly [string, DnsAnswer])[] = [['www.shop.example', { cname: 'a.example.test' }]]
const DAY_MS = 86_400_000
const START = Date.parse('2030-01-01T00:00:00Z')

/** The pool `web` has a VM `a` with the domain, proven by CNAME. */
async function bedFor(t: Test) {
  const clock = { at: START }
  const { zone, resolver } = await dnsServerFor(t, LEFT)
  const client = await vmApiFor(t, { dns: resolver, now: () => new Date(clock.at) })
  const { call, store } = client
  const take = async (token: string) => {
    t.equal((await call('PUT', '/v1/vms/a', { body: {}, token })).status, 201)
    return (await call('PUT', SHOP, { body: { vm: 'a' }, token })).json
  }
  const check = async (token: string) => (await call('POST', CHECK, { token })).json
  const leave = async (token: string) => {
    t.equal((await call('DELETE', '/v1/vms/a', { token })).status, 204)
  }
  await take(client.web)
  t.match(await check(client.web), { state: 'proven', provenBy: 'cname' })
  const marks = () => documentsOf({ store }, 'former-owner/')
  return { ...client, zone, clock, take, check, leave, marks }
}

t.test('whoever takes the name of a deleted VM next proves nothing by its CNAMEs, but by TXT', async (t) => {
  const { call, zone, web, lab, take, check, leave, marks } = await bedFor(t)
  t.same(await marks(), {})
  await leave(web)
  t.match(await marks(), { a: { pool: 'web' } })
  const { challenge, records } = await take(lab)
  t.strictSame(records, [{ type: 'TXT', name: TXT, value: `landfall=${challenge}` }])
  const refused = await check(lab)
  t.match(refused, { state: 'pending', lastError: /CNAME: no proof .*another pool.*: set the TXT record\.$/ })
  t.equal((await call('GET', '/v1/routes/www.shop.example')).status, 404)
  const route = await call('PUT', '/v1/routes/www.shop.example', { body: { vm: 'a' }, token: lab })
  t.match(route, { status: 409, json: { code: 'api_domain_unproven' } })
  t.match(
    route.json.detail,
    /takes the TXT record .*a CNAME is no proof while another pool had the VM's name\.$/,
  )
  zone.set(TXT, { txt: [[`landfall=${challenge}`]] })
  t.match(await check(lab), { state: 'proven', provenBy: 'txt', lastError: undefined })
})

t.test('the same pool may take the name again, and its CNAMEs count as before', async (t) => {
  const { web, take, check, leave } = await bedFor(t)
  await leave(web)
  t.match((await take(web)).records, [{ type: 'TXT' }, { type: 'CNAME', value: 'a.example.test' }])
  t.match(await check(web), { state: 'proven', provenBy: 'cname' })
})

t.test('a CNAME counts again after 90 days', async (t) => {
  const { web, lab, clock, take, check, leave } = await bedFor(t)
  await leave(web)
  await take(lab)
  clock.at = START + 90 * DAY_MS - 1
  t.match(await check(lab), { state: 'pending' })
  clock.at += 1
  t.match(await check(lab), { state: 'proven', provenBy: 'cname' })
})

t.test('it is the same when the domain goes before its VM, or to another one', async (t) => {
  for (const how of ['deleted', 'moved', 'routed']) {
    const { call, web, lab, take, check, leave, marks } = await bedFor(t)
    await call('PUT', '/v1/vms/c', { body: {}, token: web })
    const lead = { body: { vm: 'c' }, token: web }
    if (how === 'moved') await call('PUT', SHOP, lead)
    if (how === 'routed') await call('PUT', '/v1/routes/www.shop.example', lead)
    t.equal((await call('DELETE', SHOP, { token: web })).status, 204)
    t.match(await marks(), { a: { pool: 'web' } }, how)
    await leave(web)
    await take(lab)
    t.match(await check(lab), { state: 'pending' }, how)
  }
})

t.test(
  'it is the same for what an operator led to the VM, and for a domain that was never checked',
  async (t) => {
    const { resolver } = await dnsServerFor(t, LEFT)
    const { call, web, lab, store } = await vmApiFor(t, { dns: resolver })
    const leads = [
      () => call('PUT', '/v1/routes/www.shop.example', { body: { vm: 'a' } }),
      () => call('PUT', SHOP, { body: { vm: 'a' }, token: web }),
    ]
    for (const lead of leads) {
      await call('PUT', '/v1/vms/a', { body: { ports: { 8000: { visibility: 'public' } } }, token: web })
      t.equal((await lead()).status, 201)
      await call('DELETE', '/v1/vms/a', { token: web })
      t.match(await documentsOf({ store }, 'former-owner/'), { a: { pool: 'web' } })
      await call('PUT', '/v1/vms/a', { body: {}, token: lab })
      await call('PUT', SHOP, { body: { vm: 'a' }, token: lab })
      t.match((await call('POST', CHECK, { token: lab })).json, { state: 'pending' })
      await call('DELETE', '/v1/vms/a', { token: lab })
      await store.delete('former-owner/a')
    }
  },
)

t.test('a VM that never had another name leaves no mark', async (t) => {
  const { call, store } = await vmApiFor(t)
  await call('PUT', '/v1/vms/a', { body: { ports: { 8000: { visibility: 'public' } } } })
  await call('DELETE', '/v1/vms/a')
  t.same(await documentsOf({ store }, 'former-owner/'), {})
})

t.test('of two pools that had the name neither has the CNAMEs of the other, nor has a third', async (t) => {
  const { call, web, lab, take, check, leave, marks } = await bedFor(t)
  await leave(web)
  await take(lab)
  await leave(lab)
  t.same(Object.keys(await marks()), ['a'])
  for (const token of [lab, web, lab]) {
    await take(token)
    t.match(await check(token), { state: 'pending' })
    await leave(token)
  }
  t.equal((await call('PUT', '/v1/vms/a', { body: {} })).status, 201, 'in a third pool')
  await call('PUT', SHOP, { body: { vm: 'a' } })
  t.match((await call('POST', CHECK)).json, { state: 'pending' }, 'whoever asks')
  const said = await call('PUT', SHOP, { body: { vm: 'a', proof: 'operator' } })
  t.match(said.json, { state: 'proven', provenBy: 'operator' }, 'an operator may say so, as ever')
})

t.test('a proof that is under way when the name turns out to be passed on does not count', async (t) => {
  for (const moment of ['while DNS is asked', 'before the commit']) {
    const inner = await startMemoryStore()
    t.teardown(() => inner[Symbol.asyncDispose]())
    const [at, expiresAt] = [START, START + DAY_MS].map((ms) => new Date(ms).toISOString())
    const pass = () => inner.put('former-owner/a', { vm: 'a', pool: 'web', at, expiresAt })
    let isProof = false
    const commit: Store['commit'] = async (mutations) => {
      if (isProof && moment === 'before the commit') await pass()
      return inner.commit(mutations)
    }
    const resolveTxt = () => Promise.reject(Object.assign(new Error('none'), { code: 'ENODATA' }))
    const resolveCname = async () => {
      isProof = true
      if (moment === 'while DNS is asked') await pass()
      return ['a.example.test']
    }
    const { call, lab } = await vmApiFor(t, {
      store: storeWith(inner, { commit }),
      dns: { resolveTxt, resolveCname },
      now: () => new Date(START),
    })
    await call('PUT', '/v1/vms/a', { body: {}, token: lab })
    await call('PUT', SHOP, { body: { vm: 'a' }, token: lab })
    const checked = await call('POST', CHECK, { token: lab })
    t.match(checked, { status: 412, json: { code: 'api_revision_conflict' } }, moment)
    t.match((await call('GET', SHOP)).json, { state: 'pending' }, moment)
  }
})
