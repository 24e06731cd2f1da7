/**
 * A share link for one use is sent by mail or chat. On its way a scanner opens it, the chat makes a preview, a browser
 * fetches it ahead: the link is used up before the guest has seen it, or a robot holds the way in. A look at a link
 * changes nothing; the button does, or the yes at the login, and an attacker's page can press neither.
 */

import t, { type Test } from 'tap'
import { adminCallOf } from '../helpers/admin-call.ts'
import { echoVmFor } from '../helpers/echo-vm.ts'
import { edgeFor } from '../helpers/edge.ts'
import { browserOf, edgeCall } from '../helpers/edge-call.ts'
import { fakeHostFor } from '../helpers/fake-host.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'
const ADA = 'ada@example.test'
const BOB = 'bob@example.test'
const COOKIE = '__Host-landfall'

/** A private VM, and a link for one use to it. */
async function sceneFor(t: Test, fields: { readonly needsLogin: boolean }) {
  const edge = await edgeFor(t, { LANDFALL_PEOPLE: `${ADA},${BOB}` })
  const vm = await echoVmFor(t)
  const host = await fakeHostFor(t, edge, { vm: 'app', ports: { 8000: vm.port }, visibility: 'private' })
  await host.report('running')
  const admin = adminCallOf(edge)
  const expiresAt = new Date(Date.now() + 600_000).toISOString()
  const made = await admin('POST', '/v1/vms/app/links', { expiresAt, isSingleUse: true, ...fields })
  if (made.status !== 201) throw new Error(`no link: ${JSON.stringify(made.json)}`)
  const url = new URL(String(made.json.url))
  const path = `${url.pathname}${url.search}`
  const body = `link=${encodeURIComponent(url.searchParams.get('link') ?? '')}`
  const type = 'application/x-www-form-urlencoded'
  const ask = (headers: Readonly<Record<string, string>>, method = 'GET') =>
    method === 'POST'
      ? edgeCall(edge, { hostname: HOST, path, method, headers: { 'content-type': type, ...headers }, body })
      : edgeCall(edge, { hostname: HOST, path, method, headers })
  await until(async () => (await ask({})).status !== 410, 'the edge knows the link')
  const usesOf = async () => (await admin('GET', `/v1/vms/app/links/${made.json.id}`)).json.uses
  return { edge, vm, url, ask, usesOf }
}

const LOOKS: readonly (readonly [string, Readonly<Record<string, string>>, string?])[] = [
  ['a scanner of mails', {}],
  ['a scanner that asks for the head', {}, 'HEAD'],
  ['a preview of a chat', { 'user-agent': 'bot', accept: '*/*' }],
  ['a prefetch', { 'sec-purpose': 'prefetch', 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }],
  ['a prerender', { 'sec-purpose': 'prefetch;prerender', accept: 'text/html', 'sec-fetch-mode': 'navigate' }],
  ['an image on another site', { 'sec-fetch-dest': 'image', 'sec-fetch-site': 'cross-site' }],
  ['a form of another site', { origin: 'https://other.test', 'sec-fetch-site': 'cross-site' }, 'POST'],
  ['a form of a sibling VM', { origin: 'https://evil.localhost', 'sec-fetch-site': 'same-site' }, 'POST'],
  ['a robot that posts', {}, 'POST'],
]

for (const needsLogin of [true, false]) {
  const kind = needsLogin ? 'with login' : 'without login'
  t.test(`a look at a link ${kind} does not use it up`, async (t) => {
    const { vm, ask, usesOf } = await sceneFor(t, { needsLogin })
    for (const [what, headers, method] of LOOKS) {
      const answer = await ask(headers, method)
      if (method === 'POST') t.equal(answer.status, 403, what)
      t.notMatch(String(answer.headers['set-cookie']), new RegExp(`${COOKIE}=ey`), what)
    }
    t.equal(await usesOf(), 0)
    t.equal(vm.requests.length, 0)
  })
}

t.test('the button uses a link once, and the second guest is told so', async (t) => {
  const { edge, url, usesOf } = await sceneFor(t, { needsLogin: false })
  const [guest, second] = [browserOf(edge), browserOf(edge)]
  const [page, other] = [await guest.visit(url), await second.visit(url)]
  t.match(await guest.submit(page), { status: 200, url: { pathname: '/' } })
  t.equal(await usesOf(), 1)
  t.match(await second.submit(other), { status: 410, body: /login_link_used/ })
  t.equal(second.cookie(HOST, COOKIE), undefined)
  t.equal((await guest.visit(url)).status, 200, 'who is in comes in by it again')
  t.equal(await usesOf(), 1)
})

t.test(
  'somebody who is logged in is asked first, so that fetching ahead does not redeem it for them',
  async (t) => {
    const { edge, url, vm, usesOf } = await sceneFor(t, { needsLogin: true })
    const guest = browserOf(edge)
    await guest.submit(await guest.visit(edge.urlOf('auth.localhost')), { email: ADA })
    const question = await guest.visit(url)
    t.match(question.body, /A link lets you in/)
    t.equal(await usesOf(), 0)
    const second = browserOf(edge)
    const other = await second.submit(await second.visit(url), { email: BOB })
    const inside = await guest.submit(question, { answer: 'yes' })
    t.match(inside, { status: 200, url: { pathname: '/' } })
    t.equal(vm.requests.at(-1)?.headers['x-landfall-email'], ADA)
    t.equal(await usesOf(), 1)
    t.match(await second.submit(other, { answer: 'yes' }), { status: 410, body: /login_link_used/ })
    t.equal(second.cookie(HOST, COOKIE), undefined)
  },
)
