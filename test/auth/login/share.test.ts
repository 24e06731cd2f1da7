/** Share links: seen by anybody, redeemed by whoever means to. */

import t from 'tap'
import {
  ADA,
  BOB,
  grantTo,
  HOST,
  type LoginKit,
  logInAs,
  loginKitFor,
  routeOf,
  signLink,
  WEB,
} from './login-kit.ts'

const COOKIE = '__Host-landfall'
const ID = 'Abc123Def456'

function linkUrl(link: string): string {
  return `${WEB}/.landfall/share?${new URLSearchParams({ link })}`
}

async function kitWithLink(t: Parameters<typeof loginKitFor>[0]): Promise<LoginKit> {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('link', ID)] }))
  return kit
}

t.test('lets in by a button where no login is needed', async (t) => {
  const kit = await kitWithLink(t)
  const browser = kit.browser()
  const page = await browser.visit(linkUrl(await signLink(kit, ID, { login: false })))
  t.match(page, { status: 200, body: /shared <strong>web\.example\.test/ })
  t.same(kit.links.uses, [])
  t.equal((await browser.submit(page)).url.href, `${WEB}/`)
  t.same(kit.links.uses, [{ vm: 'web', id: ID }])
  const claims = await kit.keys.verify(browser.cookie(HOST, COOKIE) ?? '', { kind: 'cookie', audience: HOST })
  t.match(claims, { sub: `link:${ID}` })
  t.equal(claims.sid, undefined)
  t.ok(claims.exp <= kit.clock.ms / 1_000 + 3_600, 'it ends with the link')
  t.match(JSON.parse((await browser.ask(`${WEB}/.landfall/whoami`)).body), { kind: 'link', id: ID })
})

t.test('goes through the login and asks, then lets the person in', async (t) => {
  const kit = await kitWithLink(t)
  const browser = kit.browser()
  const choice = await browser.visit(linkUrl(await signLink(kit, ID)))
  const question = await browser.submit(choice, { email: ADA })
  t.match(question.body, /A link lets you in/)
  t.same(kit.links.uses, [])
  // The grant comes to this edge's memory a moment later than into the store.
  const arrival = setTimeout(() => {
    kit.routes.set(HOST, routeOf({ grants: [grantTo('link', ID), grantTo('email', ADA)] }))
  }, 100)
  t.teardown(() => clearTimeout(arrival))
  const answer = await browser.submit(question, { answer: 'yes' })
  t.equal(answer.url.href, `${WEB}/`)
  t.same(kit.links.uses, [{ vm: 'web', id: ID, person: { user: ADA, email: ADA } }])
  t.match(JSON.parse((await browser.ask(`${WEB}/.landfall/whoami`)).body), { email: ADA, role: 'viewer' })
})

t.test('does not use up a link for somebody who may come in already', async (t) => {
  const kit = await kitWithLink(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('link', ID), grantTo('email', ADA)] }))
  const browser = kit.browser()
  await logInAs(browser, ADA)
  for (const login of [true, false]) {
    t.equal((await browser.visit(linkUrl(await signLink(kit, ID, { login })))).url.href, `${WEB}/`)
  }
  const stranger = kit.browser()
  const choice = await stranger.visit(linkUrl(await signLink(kit, ID)))
  t.equal((await stranger.submit(choice, { email: ADA })).url.href, `${WEB}/`)
  t.same(kit.links.uses, [])
})

t.test('says what became of a link that lets nobody in', async (t) => {
  const kit = await kitWithLink(t)
  const cases = [
    ['used', 410, /login_link_used/],
    ['gone', 410, /login_link_gone/],
    ['needs-login', 410, /login_link_gone/],
    ['full', 403, /login_link_full/],
  ] as const
  for (const [outcome, status, body] of cases) {
    kit.links.outcome = outcome
    const anonymous = kit.browser()
    const page = await anonymous.visit(linkUrl(await signLink(kit, ID, { login: false })))
    t.match(await anonymous.submit(page), { status, body }, outcome)
    const person = kit.browser()
    const question = await person.submit(await person.visit(linkUrl(await signLink(kit, ID))), { email: BOB })
    t.match(await person.submit(question, { answer: 'yes' }), { status, body }, outcome)
    for (const browser of [anonymous, person]) t.equal(browser.cookie(HOST, COOKIE), undefined)
  }
})

t.test(
  'knows only links to this host that were signed here, are in time, and have their grant',
  async (t) => {
    const kit = await kitWithLink(t)
    const good = await signLink(kit, ID)
    const expiresAt = Math.floor(kit.clock.ms / 1_000) + 3_600
    const sign = (other: Partial<Parameters<typeof kit.keys.sign>[0]>) =>
      kit.keys.sign({
        kind: 'link',
        audience: HOST,
        subject: `link:${ID}`,
        id: ID,
        expiresAt,
        claims: { vm: 'web' },
        ...other,
      })
    const links = {
      nothing: '',
      garbage: 'x.y.z',
      'another grant': await signLink(kit, 'Zzz999Zzz999'),
      'another host': await sign({ audience: 'api.example.test' }),
      'another VM': await sign({ claims: { vm: 'api' } }),
      'another kind': await sign({ kind: 'token' }),
      'a signature altered': good.slice(0, -6) + (good.endsWith('AAAAAA') ? 'BBBBBB' : 'AAAAAA'),
    }
    for (const [what, link] of Object.entries(links)) {
      t.match(await kit.browser().ask(linkUrl(link)), { status: 410, body: /login_link_gone/ }, what)
    }
    kit.routes.set(HOST, routeOf())
    t.match(await kit.browser().ask(linkUrl(good)), { status: 410 }, 'a grant that was deleted')
    kit.routes.set(HOST, routeOf({ grants: [grantTo('link', ID)] }))
    kit.clock.ms += 3_700_000
    t.match(await kit.browser().ask(linkUrl(good)), { status: 410 }, 'a link that ran out')
  },
)

t.test('leads nobody through a login for a link that lets nobody in', async (t) => {
  const kit = await kitWithLink(t)
  const begun = await kit.browser().ask(linkUrl(await signLink(kit, ID)))
  const start = String(begun.headers.location)
  for (const [state, status, body] of [
    ['used', 410, /login_link_used/],
    ['gone', 410, /login_link_gone/],
    ['full', 403, /login_link_full/],
  ] as const) {
    kit.links.state = state
    for (const login of [true, false]) {
      const page = await kit.browser().ask(linkUrl(await signLink(kit, ID, { login })))
      t.match(page, { status, body }, state)
      t.match(page.body, `href="${WEB}/.landfall/login">Log in`, 'who came by it before has a way')
    }
    t.match(await kit.browser().ask(start), { status, body }, `${state} since the login began`)
  }
  t.same(kit.links.uses, [])
})
