/** Several logins in one browser: tabs that begin and come back at once, and what a second login does to the first. */

import t from 'tap'
import type { TestBrowser } from './browser.ts'
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

t.test('serves several tabs that log in at once', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  const first = await browser.visit(`${WEB}/.landfall/login?to=/first`)
  const second = await browser.visit(`${WEB}/.landfall/login?to=/second`)
  t.equal((await browser.submit(first, { email: ADA })).url.pathname, '/first')
  t.equal((await browser.submit(second, { email: ADA })).url.pathname, '/second')
})

t.test('serves tabs that all began before any of them had an answer', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  await logInAs(browser, ADA)
  browser.jar.delete(HOST)
  const tabs = ['/a', '/b', '/c', '/d', '/e', '/f']
  const begun = await Promise.all(tabs.map((to) => browser.ask(`${WEB}/.landfall/login?to=${to}`)))
  const starts = begun.map(({ headers }) => String(headers.location))
  const sent = await Promise.all(starts.map((url) => browser.ask(url)))
  const back = await Promise.all(sent.map(({ headers }) => browser.ask(String(headers.location))))
  t.same(
    back.map(({ headers }) => headers.location),
    tabs,
  )
  t.same(namesOf(browser, HOST), [COOKIE], 'none of the flows is left')
})

t.test('keeps as many logins under way as a request has room for', async (t) => {
  const kit = await loginKitFor(t)
  const many = kit.browser()
  for (let tab = 0; tab < 12; tab += 1) await many.ask(`${WEB}/.landfall/login?to=/${tab}`)
  t.equal(namesOf(many, HOST).length, 8)
  const long = kit.browser()
  for (let tab = 0; tab < 12; tab += 1) {
    const { headers } = await long.ask(`${WEB}/.landfall/login?to=/${tab}${'x'.repeat(1_900)}`)
    for (const line of [headers['set-cookie'] ?? []].flat()) t.ok(line.length <= 4_096)
  }
  t.ok([...(long.jar.get(HOST) ?? [])].join().length < 9_000)
  const page = await long.visit(`${WEB}/.landfall/login?to=/last`)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  t.equal(
    (await long.submit(page, { email: ADA })).url.pathname,
    '/last',
    'the oldest gave way, not the newest',
  )
})

t.test('begins a login for a whole page alone', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  await logInAs(browser, ADA)
  const urls = [`${WEB}/.landfall/login`, `${LOGIN}/start?host=${HOST}&challenge=${'a'.repeat(43)}`]
  for (const url of urls) {
    for (const headers of [
      { 'sec-fetch-dest': 'iframe' },
      { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' },
      { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' },
    ]) {
      const answer = await browser.ask(url, { headers })
      t.match(answer, { status: 400, body: /login_request_malformed/ }, JSON.stringify(headers))
      t.equal(answer.headers['set-cookie'], undefined)
    }
    t.equal((await browser.ask(url, { headers: { 'sec-fetch-dest': 'document' } })).status, 303)
  }
})

/** Logs in anew although there is a login, as one who wants another account. */
async function logInAnew(browser: TestBrowser, email: string): Promise<string> {
  const page = await browser.visit(`${LOGIN}/start?fresh=1`, { from: new URL(LOGIN) })
  await browser.submit(page, { email })
  return browser.cookie(LOGIN_HOST, SESSION) ?? ''
}

t.test('goes on with the session of the same person, and ends that of another', async (t) => {
  const kit = await loginKitFor(t)
  const browser = kit.browser()
  const ids: string[] = []
  for (const email of [ADA, ADA, BOB]) {
    const text = await logInAnew(browser, email)
    ids.push((await kit.keys.verify(text, { kind: 'session', audience: LOGIN_HOST })).jti)
    if (email === ADA) t.equal(await kit.logins.hasSession(ids[0] ?? ''), true)
  }
  t.equal(ids[0], ids[1])
  t.not(ids[1], ids[2])
  t.same(await Promise.all(ids.map((id) => kit.logins.hasSession(id))), [false, false, true])
})

t.test('two tabs that ask for the same login both stay logged in', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  const tabs = [
    await browser.visit(`${WEB}/.landfall/login?to=/a`),
    await browser.visit(`${WEB}/.landfall/login?to=/b`),
  ]
  const cookies: string[] = []
  for (const tab of tabs) {
    t.equal((await browser.submit(tab, { email: ADA })).url.host, HOST)
    cookies.push(`${COOKIE}=${browser.cookie(HOST, COOKIE)}`)
  }
  for (const cookie of cookies) {
    const { body } = await kit.browser().ask(`${WEB}/.landfall/whoami`, { headers: { cookie } })
    t.match(JSON.parse(body), { email: ADA })
  }
})

t.test('a page elsewhere cannot make a visitor log in anew', async (t) => {
  const kit = await loginKitFor(t)
  const browser = kit.browser()
  await logInAnew(browser, ADA)
  for (const from of ['https://evil.example.test/', 'https://other.test/', undefined]) {
    const visit = from === undefined ? {} : { from: new URL(from) }
    const page = await browser.visit(`${LOGIN}/start?fresh=1`, visit)
    t.match(page.body, /Continue as ada@example\.test/, from ?? 'typed in')
  }
})
