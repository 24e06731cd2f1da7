/** Requests to a certificate authority: whom they trust, how long they take, and where they do not go. */

import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { CaProblem } from '../../../acme/ca/ca-problem.ts'
import { AcmeError } from '../../../acme/errors.ts'
import { VERSION } from '../../../lib/version.ts'
import { caFor, failureOf, GO } from '../../helpers/ca-scene.ts'
import { smallCaFor } from '../../helpers/small-ca.ts'
import { until } from '../../helpers/until.ts'

const NAMES = ['a.example', '*.a.example']

t.test('waits for no answer longer than it may', async (t) => {
  const small = await smallCaFor(t)
  for (const resource of ['directory', 'nonce', 'account', 'newOrder'] as const) {
    small.fail(resource, 'hang')
    const ca = caFor(t, { ...small, requestMs: 100 })
    const start = performance.now()
    const error = await failureOf(ca.createOrder({ names: NAMES }, GO), CaProblem)
    t.match(error, { code: 'ca_unreachable', problem: { type: 'timeout', status: 0 } }, resource)
    t.ok(performance.now() - start < 10_000, resource)
    small.heal()
  }
})

t.test('leaves at once when nobody waits any more', async (t) => {
  const small = await smallCaFor(t)
  const ca = caFor(t, { ...small, requestMs: 60_000 })
  await ca.getAccount(GO)
  small.fail('newOrder', 'hang', 2)
  const controller = new AbortController()
  const error = failureOf(ca.createOrder({ names: NAMES }, controller.signal), CaProblem)
  await until(() => small.requests.includes('newOrder'), 'it was asked')
  controller.abort()
  t.equal((await error).problem.type, 'aborted')
  small.requests.length = 0
  const late = await failureOf(ca.createOrder({ names: NAMES }, controller.signal), CaProblem)
  t.equal(late.problem.type, 'aborted')
  t.same(small.requests, [], 'an aborted signal asks nothing')
})

t.test('says when nobody is there, and goes on when somebody is again', async (t) => {
  const small = await smallCaFor(t)
  const ca = caFor(t, small)
  const { url } = await ca.createOrder({ names: NAMES }, GO)
  small.fail('order', 'drop')
  t.match(await failureOf(ca.getOrder(url, GO), CaProblem), {
    code: 'ca_unreachable',
    problem: { type: 'unreachable' },
  })
  await small.stop()
  t.equal((await failureOf(ca.getOrder(url, GO), CaProblem)).code, 'ca_unreachable')
  await small.start()
  t.equal((await ca.getOrder(url, GO)).status, 'pending')
})

t.test('follows no redirect and takes no endless answer', async (t) => {
  const small = await smallCaFor(t)
  const other = await smallCaFor(t)
  small.fail('directory', { status: 302, headers: { location: other.directory } })
  const redirected = await failureOf(caFor(t, small).facts(GO), CaProblem)
  t.match(redirected, { code: 'ca_nonsense', problem: { type: 'nonsense', status: 302 } })
  t.same(other.requests, [])
  small.fail('directory', { status: 200, body: `{"a":"${'x'.repeat(300_000)}"}` })
  t.match(await failureOf(caFor(t, small).facts(GO), CaProblem), { code: 'ca_nonsense', detail: /too long/ })
})

t.test('reads the directory again after an hour', async (t) => {
  const small = await smallCaFor(t)
  const clock = { now: Date.now() }
  const ca = caFor(t, { ...small, now: () => clock.now })
  const { caaIdentities } = await ca.facts(GO)
  t.same(caaIdentities, [])
  small.options.caaIdentities = ['ca.example']
  clock.now += 3_599_000
  t.same((await ca.facts(GO)).caaIdentities, [])
  clock.now += 2_000
  t.same((await ca.facts(GO)).caaIdentities, ['ca.example'])
})

t.test('trusts public roots, those it is given, and no others', async (t) => {
  const small = await smallCaFor(t, { isHttps: true })
  const { directory } = small
  const error = await failureOf(caFor(t, { directory }).facts(GO), CaProblem)
  t.match(error, { code: 'ca_unreachable', detail: /UNABLE_TO_VERIFY/ })
  const bundle = `# our own\n${small.rootPem}\n${small.serverRootPem}`
  t.ok(await caFor(t, { directory, trustedPem: bundle }).facts(GO))
  t.throws(() => caFor(t, { directory, trustedPem: 'nonsense' }), { code: 'certificate_setting' })
})

t.test('refuses a directory that is no https URL', async (t) => {
  for (const directory of ['', 'ca.example', 'http://ca.example/directory', 'file:///directory']) {
    t.throws(() => caFor(t, { directory }), AcmeError)
  }
})

t.test('says who it is, and goes through no proxy that the environment names', async (t) => {
  const heads: IncomingHttpHeaders[] = []
  const server = createServer((request, response) => {
    heads.push(request.headers)
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    response.end(JSON.stringify({ newNonce: url, newAccount: url, newOrder: url }))
  }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const { HTTP_PROXY, http_proxy } = process.env
  t.teardown(() => Object.assign(process.env, HTTP_PROXY && { HTTP_PROXY }, http_proxy && { http_proxy }))
  Object.assign(process.env, { HTTP_PROXY: 'http://127.0.0.1:1', http_proxy: 'http://127.0.0.1:1' })
  const directory = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  await caFor(t, { directory }).facts(GO)
  t.equal(heads[0]?.['user-agent'], `landfall/${VERSION}`)
  t.equal(heads[0]?.['accept-encoding'], 'identity')
})
