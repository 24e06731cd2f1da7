/**
 * The attacker owns a VM beside the victim's, and the victim, who is logged in there, opens the attacker's page. Browsers
 * take both hosts for one site, so they send the victim's cookie with whatever that page asks of the victim's VM, SameSite
 * or not. None of it may count, but for what the VM's own ports ask of each other and for links that are followed.
 */

import t, { type Test } from 'tap'
import { echoVmFor, seenIn } from '../helpers/echo-vm.ts'
import { edgeFor } from '../helpers/edge.ts'
import { type EdgeAsk, edgeCall, loginFor } from '../helpers/edge-call.ts'
import { h2Exchange } from '../helpers/h2-client.ts'
import { putTestRoute } from '../helpers/route.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'
const OTHER_PORT = '3000--app.localhost'
const SIBLING = 'evil.localhost'
const ADA = 'ada@example.test'
const PAGE = 'text/html,application/xhtml+xml,*/*;q=0.8'

type Fields = Readonly<Record<string, string>>

async function sceneFor(t: Test, visibility: 'private' | 'public' = 'private') {
  const [edge, vm] = [await edgeFor(t), await echoVmFor(t)]
  const upstream = { host: '127.0.0.1', port: vm.port }
  const grants = [{ id: 'grant-of-ada', to: { kind: 'email', value: ADA }, role: 'viewer' }] as const
  const rows = [
    { hostname: HOST, vm: 'app', port: 80 },
    { hostname: OTHER_PORT, vm: 'app', port: 3000 },
    { hostname: SIBLING, vm: 'evil', port: 80 },
  ]
  for (const row of rows)
    await putTestRoute(edge.store, { ...row, visibility, upstream, grants: [...grants] })
  const isKnown = async () =>
    (await edgeCall(edge, { hostname: SIBLING, path: '/.landfall/login' })).status !== 404
  await until(isKnown, 'the rows')
  const cookie = await loginFor(edge, HOST, ADA)
  const before = vm.requests.length
  const origin = (hostname: string) => `https://${hostname}:${edge.httpsPort}`
  /** With the victim's cookie, as their browser would. */
  const ask = (fields: Fields, more: Partial<EdgeAsk> = {}) =>
    edgeCall(edge, { hostname: HOST, ...more, headers: { cookie, ...fields } })
  const reached = () => vm.requests.slice(before)
  return { edge, vm, cookie, origin, ask, reached }
}

const fetched = (site: string, mode: string, more: Fields = {}): Fields => ({
  'sec-fetch-site': site,
  'sec-fetch-mode': mode,
  ...more,
})

t.test("requests of a sibling's page do not count as the victim's", async (t) => {
  const { edge, cookie, origin, ask, reached } = await sceneFor(t)
  const [sibling, foreign] = [{ origin: origin(SIBLING) }, { origin: 'https://evil.test' }]
  const reads: readonly Fields[] = [
    fetched('same-site', 'no-cors', { 'sec-fetch-dest': 'image' }),
    fetched('same-site', 'no-cors', { 'sec-fetch-dest': 'script' }),
    fetched('same-site', 'cors', sibling),
    fetched('same-site', 'cors'),
    fetched('same-site', 'same-origin'),
    fetched('same-site', 'websocket', sibling),
    fetched('same-site', 'navigate', { 'sec-fetch-dest': 'iframe' }),
    fetched('same-site', 'navigate', { 'sec-fetch-dest': 'object' }),
    fetched('cross-site', 'navigate', { 'sec-fetch-dest': 'iframe' }),
    fetched('cross-site', 'no-cors'),
    fetched('cross-site', 'cors', foreign),
    fetched('somewhere', 'cors'),
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'cross-site' },
    sibling,
    foreign,
    { origin: 'null' },
    { origin: `http://${HOST}` },
    { origin: `https://${HOST}.evil.test` },
    { origin: `https://x.${HOST}` },
    { origin: `https://${HOST}@evil.test` },
    fetched('same-site', 'no-cors', { origin: 'null' }),
  ]
  const session = await edge.h2(HOST)
  for (const fields of reads) {
    t.match(await ask(fields), { status: 403, body: /"auth_origin"/ }, JSON.stringify(fields))
    const over2 = await h2Exchange(session, { ':path': '/', cookie, ...fields })
    t.match(over2, { status: 403, body: /"auth_origin"/ }, `HTTP/2 ${JSON.stringify(fields)}`)
  }
  t.same(reached(), [])
  t.equal(edge.accessLog.filter(({ error_code: code }) => code === 'auth_origin').length, 2 * reads.length)
})

t.test(
  "a form that a sibling's page sends, or that navigates, does not reach the VM as the victim",
  async (t) => {
    const { origin, ask, reached } = await sceneFor(t)
    const form = { accept: PAGE, 'content-type': 'application/x-www-form-urlencoded' }
    const sent = { method: 'POST', path: '/delete', body: 'all=yes' }
    const posts: readonly Fields[] = [
      fetched('same-site', 'navigate', { ...form, origin: origin(SIBLING) }),
      fetched('same-site', 'navigate', { ...form, origin: 'null' }),
      fetched('cross-site', 'navigate', { ...form, origin: 'https://evil.test' }),
      fetched('same-site', 'no-cors', { ...form, origin: origin(SIBLING) }),
      { ...form, origin: origin(SIBLING) },
      { ...form, origin: 'null' },
    ]
    for (const fields of posts) {
      const answer = await ask(fields, sent)
      t.equal(answer.status, 403, JSON.stringify(fields))
      t.match(answer.body, 'auth_origin')
    }
    for (const method of ['PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD'])
      t.equal(
        (await ask(fetched('same-site', 'cors', { origin: origin(SIBLING) }), { method })).status,
        403,
        method,
      )
    t.same(reached(), [])
  },
)

t.test('what the VM asks itself, from any of its ports, and links that are followed, come in', async (t) => {
  const { origin, ask } = await sceneFor(t)
  const fine: readonly Fields[] = [
    {},
    fetched('none', 'navigate', { accept: PAGE }),
    fetched('same-origin', 'cors', { origin: origin(HOST) }),
    fetched('same-origin', 'no-cors'),
    fetched('same-site', 'cors', { origin: origin(OTHER_PORT) }),
    fetched('same-site', 'navigate', { accept: PAGE }),
    fetched('cross-site', 'navigate', { accept: PAGE, 'sec-fetch-dest': 'document' }),
    fetched('same-origin', 'navigate', { accept: PAGE, 'sec-fetch-dest': 'iframe' }),
    { origin: origin(HOST) },
    { origin: `https://${HOST}` },
    { origin: origin(OTHER_PORT) },
  ]
  for (const fields of fine) {
    const { headers } = seenIn(await ask(fields))
    t.equal(headers['x-landfall-email'], ADA, JSON.stringify(fields))
    t.equal(headers.cookie, undefined)
  }
  const posted = { method: 'POST', body: 'a=b' }
  const form = fetched('same-site', 'cors', { origin: origin(OTHER_PORT) })
  t.equal(seenIn(await ask(form, posted)).headers['x-landfall-email'], ADA)
  t.equal(seenIn(await ask(fetched('same-origin', 'navigate', { origin: 'null' }), posted)).method, 'POST')
})

t.test('on a public port the same requests go on as those of a stranger', async (t) => {
  const { origin, ask } = await sceneFor(t, 'public')
  const foreign: readonly Fields[] = [
    fetched('same-site', 'no-cors'),
    fetched('same-site', 'cors', { origin: origin(SIBLING) }),
    { origin: origin(SIBLING) },
    { origin: 'null' },
  ]
  for (const fields of foreign) {
    const { headers } = seenIn(await ask(fields))
    const told = Object.keys(headers).filter((name) => name.startsWith('x-landfall-') || name === 'cookie')
    t.same(told, [], JSON.stringify(fields))
  }
  const own = seenIn(await ask(fetched('same-origin', 'cors', { origin: origin(HOST) })))
  t.equal(own.headers['x-landfall-email'], ADA)
})

t.test("the cookie of one host, brought to a sibling's, is nobody's", async (t) => {
  const { edge, cookie, ask, reached } = await sceneFor(t)
  const refused = await ask({}, { hostname: SIBLING })
  t.match(refused, { status: 401, body: /"auth_required"/ })
  t.equal((await ask({}, { hostname: OTHER_PORT })).status, 401, 'each host name has its own')
  const twice = await edgeCall(edge, { hostname: HOST, headers: { cookie: `${cookie}; ${cookie}x` } })
  t.equal(twice.status, 401, 'of two nobody knows which is right')
  t.same(reached(), [])
})

t.test('a sibling cannot log the victim out', async (t) => {
  const { origin, ask } = await sceneFor(t)
  const out = { method: 'POST', path: '/.landfall/logout', body: '' }
  const posts: readonly Fields[] = [
    fetched('same-site', 'navigate', { origin: origin(SIBLING) }),
    fetched('same-site', 'no-cors', { origin: 'null' }),
    { origin: origin(SIBLING) },
    {},
  ]
  for (const fields of posts) t.equal((await ask(fields, out)).status, 403, JSON.stringify(fields))
  await ask(fetched('same-site', 'navigate', { accept: PAGE }), { path: '/.landfall/logout' })
  t.equal((await ask({})).status, 200, 'still logged in')
  const own = await ask(fetched('same-origin', 'navigate', { origin: origin(HOST) }), out)
  t.ok(own.status < 400, `its own page can: ${own.status}`)
  await until(async () => (await ask({})).status === 401, 'and then the cookie is dead')
})
