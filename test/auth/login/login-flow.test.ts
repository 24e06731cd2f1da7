/** The way of a browser: from a VM host to the login host and back, with one cookie for each. */

import t from 'tap'
import { REVOCATIONS } from '../../../routing/records/record-kinds.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import {
  ADA,
  BOB,
  grantTo,
  HOST,
  LOGIN,
  LOGIN_HOST,
  logInAs,
  loginKitFor,
  namesOf,
  routeOf,
  WEB,
} from './login-kit.ts'

const COOKIE = '__Host-landfall'
const SESSION = '__Host-landfall-session'

t.test('leads a person who is let in by name there and back, without a question', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  const answer = await logInAs(browser, ADA, '/notes?page=2')
  t.equal(answer.url.href, `${WEB}/notes?page=2`)
  const claims = await kit.keys.verify(browser.cookie(HOST, COOKIE) ?? '', { kind: 'cookie', audience: HOST })
  t.match(claims, { sub: ADA, email: ADA, aud: HOST, iss: LOGIN })
  const session = await kit.keys.verify(browser.cookie(LOGIN_HOST, SESSION) ?? '', {
    kind: 'session',
    audience: LOGIN_HOST,
  })
  t.equal(claims.sid, session.jti)
  t.equal(await kit.logins.hasSession(session.jti), true)
  t.same(namesOf(browser, HOST), [COOKIE], 'the flow is over')
  t.ok(claims.exp <= session.exp)
})

t.test('needs no second login for another host', async (t) => {
  const kit = await loginKitFor(t)
  const other = 'api.example.test'
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  kit.routes.set(other, routeOf({ hostname: other, grants: [grantTo('user', ADA)] }))
  const browser = kit.browser()
  await logInAs(browser, ADA)
  const answer = await browser.visit(`https://${other}/.landfall/login?to=/x`)
  t.equal(answer.url.href, `https://${other}/x`)
  t.not(browser.cookie(other, COOKIE), browser.cookie(HOST, COOKIE))
})

t.test('dates a cookie by its login, for whatever is ended while it is made', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  await logInAs(browser, ADA)
  kit.clock.ms += 100_000
  browser.jar.delete(HOST)
  await browser.visit(`${WEB}/.landfall/login`)
  const verify = (host: string, name: string, kind: 'cookie' | 'session') =>
    kit.keys.verify(browser.cookie(host, name) ?? '', { kind, audience: host })
  const [cookie, session] = [
    await verify(HOST, COOKIE, 'cookie'),
    await verify(LOGIN_HOST, SESSION, 'session'),
  ]
  t.equal(cookie.auth_time, session.iat)
  t.ok(cookie.iat >= session.iat + 100)
})

t.test('offers to change the person', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA), grantTo('email', BOB)] }))
  const browser = kit.browser()
  await logInAs(browser, ADA)
  const page = await browser.visit(`${WEB}/.landfall/login?to=/x&switch=1`)
  t.match(page.body, /Continue as ada@example\.test/)
  const links = [...page.body.matchAll(/href="([^"]+)"/g)].map(([, href = '']) =>
    href.replaceAll('&amp;', '&'),
  )
  const same = await browser.visit(new URL(links[0] ?? '', page.url))
  t.equal(same.url.href, `${WEB}/x`)
  const again = await browser.visit(`${WEB}/.landfall/login?to=/x&switch=1`)
  const [, other = ''] = [...again.body.matchAll(/href="([^"]+)"/g)].map(([, href = '']) => href)
  const choice = await browser.visit(new URL(other.replaceAll('&amp;', '&'), again.url), { from: again.url })
  t.equal((await browser.submit(choice, { email: BOB })).url.href, `${WEB}/x`)
  t.match(JSON.parse((await browser.ask(`${WEB}/.landfall/whoami`)).body), { email: BOB })
})

t.test('asks again when the session has ended or run out', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  await logInAs(browser, ADA)
  kit.clock.ms += 31 * 86_400_000
  const page = await browser.visit(`${WEB}/.landfall/login`)
  t.match(page.body, /Who are you\?/)
  await browser.submit(page, { email: ADA })
  await kit.logins.endSession(
    (
      await kit.keys.verify(browser.cookie(LOGIN_HOST, SESSION) ?? '', {
        kind: 'session',
        audience: LOGIN_HOST,
      })
    ).jti,
  )
  t.match((await browser.visit(`${WEB}/.landfall/login`)).body, /Who are you\?/)
})

t.test('says that nobody can log in while no way is configured', async (t) => {
  const kit = await loginKitFor(t, { methods: [] })
  t.match(await kit.browser().visit(`${WEB}/.landfall/login`), { status: 503, body: /login_unconfigured/ })
})

t.test('knows no login at names that lead to no VM', async (t) => {
  const kit = await loginKitFor(t)
  const browser = kit.browser()
  for (const host of ['nobody.example.test', 'admin.example.test', 'evil.test', '127.0.0.1']) {
    t.match(
      await browser.ask(`https://${host}/.landfall/login`),
      { status: 404, body: /login_host_unknown/ },
      host,
    )
    const start = `${LOGIN}/start?host=${host}&challenge=${'a'.repeat(43)}`
    t.match(await browser.ask(start), { status: 404, body: /login_host_unknown/ }, host)
  }
})

t.test('tells browsers without cookies so, and does not go in a circle', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  const page = await browser.visit(`${WEB}/.landfall/login?to=/x`)
  browser.jar.delete(HOST)
  const answer = await browser.submit(page, { email: ADA })
  t.match(answer, { status: 400, body: /login_cookies_missing/ })
  t.match(answer.body, /Start again/)
  t.notMatch(answer.url.href, /code=/)
})

t.test('whoever goes back to a step of the login that is over stays in', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  await logInAs(browser, ADA)
  const begun = await browser.ask(`${WEB}/.landfall/login?to=/x`)
  t.equal((await browser.visit(String(begun.headers.location))).url.href, `${WEB}/x`)
  const back = await browser.visit(String(begun.headers.location))
  t.match(back, { status: 404, url: { href: `${WEB}/` } }, 'at the page of the VM')
  kit.routes.set(HOST, routeOf())
  t.match(await browser.visit(`${WEB}/.landfall/callback?code=x`), { status: 410, body: /login_expired/ })
})

t.test('a page about a login that failed leads back to where it was going', async (t) => {
  const kit = await loginKitFor(t)
  const browser = kit.browser()
  await browser.ask(`${WEB}/.landfall/login?to=/x?y=1`)
  for (const [why, status, code] of [
    ['time', 410, 'login_expired'],
    ['browser', 400, 'login_cookies_missing'],
    ['store', 503, 'login_interrupted'],
    ['toString', 410, 'login_expired'],
  ] as const) {
    const page = await browser.visit(`${WEB}/.landfall/login-failed?why=${why}`)
    t.equal(page.status, status)
    t.match(page.body, code)
    t.match(page.body, '/.landfall/login?to=%2Fx%3Fy%3D1"')
  }
})

t.test('logs out of one host, and out of everything at the login host', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  await logInAs(browser, ADA)
  const copy = browser.cookie(HOST, COOKIE) ?? ''
  const claims = await kit.keys.verify(copy, { kind: 'cookie', audience: HOST })
  const out = await browser.ask(`${WEB}/.landfall/logout`, { form: {}, from: new URL(WEB) })
  t.equal(out.status, 200)
  t.equal(browser.cookie(HOST, COOKIE), undefined)
  await waitFor(() => kit.access.findRevocation('credential', claims.jti) !== undefined)
  const stolen = await browser.ask(`${WEB}/.landfall/whoami`, { headers: { cookie: `${COOKIE}=${copy}` } })
  t.same(JSON.parse(stolen.body), { host: HOST })
  const home = await browser.visit(`${LOGIN}/`)
  t.match(home.body, /You are ada@example\.test/)
  t.match((await browser.submit(home)).body, /Logged out everywhere/)
  t.equal(await kit.logins.hasSession(String(claims.sid)), false)
  t.equal(browser.cookie(LOGIN_HOST, SESSION), undefined)
  const marker = '__Host-landfall-logged-out'
  t.ok(browser.cookie(LOGIN_HOST, marker), 'the browser knows that it was logged out')
  await logInAs(browser, ADA)
  t.equal(browser.cookie(LOGIN_HOST, marker), undefined)
})

t.test('asks again when everything of a person was taken back', async (t) => {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const kit = await loginKitFor(t, { store })
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  await logInAs(browser, ADA)
  kit.clock.ms += 5_000
  const at = new Date(kit.clock.ms).toISOString()
  const expiresAt = new Date(kit.clock.ms + 86_400_000).toISOString()
  const record = REVOCATIONS.parse({ kind: 'user', value: ADA, at, expiresAt })
  await store.put(REVOCATIONS.keyOf(record), record)
  await waitFor(() => kit.access.findRevocation('user', ADA) !== undefined)
  t.same(JSON.parse((await browser.ask(`${WEB}/.landfall/whoami`)).body), { host: HOST })
  t.match((await browser.visit(`${WEB}/.landfall/login`)).body, /Who are you\?/)
})

async function waitFor(isDone: () => boolean): Promise<void> {
  const end = Date.now() + 5_000
  while (!isDone()) {
    if (Date.now() > end) throw new Error('it did not come')
    await new Promise((resolve) => setImmediate(resolve))
  }
}
