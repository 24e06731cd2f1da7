/** Who is asked before a host learns who they are, and who gets no cookie at all. */

import t from 'tap'
import type { Person } from '../../../auth/login/login-store.ts'
import type { LoginMethod, LoginMethodContext } from '../../../auth/login/methods/login-method.ts'
import { ADA, BOB, grantTo, HOST, LOGIN, logInAs, loginKitFor, routeOf, WEB } from './login-kit.ts'

const COOKIE = '__Host-landfall'

t.test('asks a stranger before a public port learns who it is', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ visibility: 'public' }))
  const browser = kit.browser()
  const page = await logInAs(browser, ADA, '/x')
  t.match(page.body, /Continue to web\.example\.test\?/)
  t.match(page.body, /ada@example\.test/)
  t.match(page.body, /e-mail address and your user id/)
  t.equal(browser.cookie(HOST, COOKIE), undefined)
  const answer = await browser.submit(page, { answer: 'yes' })
  t.equal(answer.url.href, `${WEB}/x`)
  t.ok(browser.cookie(HOST, COOKIE))
})

t.test('tells the host nothing when the answer is no, or none', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ visibility: 'public' }))
  const browser = kit.browser()
  const page = await logInAs(browser, ADA)
  for (const fields of [{ answer: 'no' }, {}]) {
    t.match((await browser.submit(page, fields)).body, /has learned nothing of you/)
  }
  t.equal(browser.cookie(HOST, COOKIE), undefined)
})

t.test('asks whom a whole domain was let in with, for the owner may have granted any', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('domain', 'example.test')] }))
  const browser = kit.browser()
  t.match((await logInAs(browser, ADA)).body, /Continue to web\.example\.test\?/)
})

t.test('gives no cookie to somebody without access, and offers another account', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', BOB)] }))
  const browser = kit.browser()
  const page = await logInAs(browser, ADA, '/x')
  t.match(page, { status: 403, body: /auth_forbidden/ })
  t.match(page.body, /You are ada@example\.test/)
  t.equal(browser.cookie(HOST, COOKIE), undefined)
  const [, other = ''] = /href="(\/start[^"]+)"/.exec(page.body) ?? []
  const choice = await browser.visit(new URL(other.replaceAll('&amp;', '&'), page.url), { from: page.url })
  t.equal((await browser.submit(choice, { email: BOB })).url.href, `${WEB}/x`)
})

t.test('takes an answer only for the host and the session that were asked', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ visibility: 'public' }))
  const [ada, bob] = [kit.browser(), kit.browser()]
  const page = await logInAs(ada, ADA)
  await logInAs(bob, BOB)
  t.match(await bob.submit(page, { answer: 'yes' }), { status: 410, body: /login_expired/ })
  kit.clock.ms += 601_000
  t.match(await ada.submit(page, { answer: 'yes' }), { status: 410, body: /login_expired/ })
})

t.test('asks whom another site sent, for somebody may have begun this login elsewhere', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  await logInAs(browser, ADA)
  const start = `${LOGIN}/start?host=${HOST}&challenge=${'a'.repeat(43)}`
  const page = await browser.ask(start, { from: new URL('https://other.test/') })
  t.match(page, { status: 200, body: /A page of another site, or of <strong>web\.example\.test/ })
  t.match(page.body, /ada@example\.test/)
  t.equal((await browser.ask(start)).status, 303, 'typed in')
  t.equal((await browser.ask(start, { from: new URL(WEB) })).status, 303, 'by the host itself')
  browser.jar.clear()
  const choice = await browser.visit(`${WEB}/.landfall/login?to=/x`, { from: new URL('https://other.test/') })
  const question = await browser.submit(choice, { email: ADA })
  t.match(question.body, /A page of another site/, 'after a login, too')
  t.equal((await browser.submit(question, { answer: 'yes' })).url.href, `${WEB}/x`)
})

t.test('an answer does not count for another VM that came to have the name', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ visibility: 'public' }))
  const browser = kit.browser()
  const page = await logInAs(browser, ADA)
  for (const other of [{ pool: 'mallory' }, { vm: 'other' }]) {
    kit.routes.set(HOST, routeOf({ visibility: 'public', ...other }))
    t.match(await browser.submit(page, { answer: 'yes' }), { status: 410, body: /login_expired/ })
  }
  kit.routes.delete(HOST)
  t.match(await browser.submit(page, { answer: 'yes' }), { status: 410, body: /login_expired/ })
  t.equal(browser.cookie(HOST, COOKIE), undefined)
})

t.test('tells who is not let in what the owner has to write', async (t) => {
  for (const [person, command] of [
    [{ user: ADA, email: ADA }, `landfall grant add web ${ADA}`],
    [{ user: 'user-17' }, 'landfall grant add web user:user-17'],
    [{ user: '$(reboot)' }, 'landfall grant add &lt;vm&gt; &lt;you&gt;'],
  ] as const) {
    const kit = await loginKitFor(t, { methods: [knownPerson(person)] })
    const page = await kit.browser().visit(`${WEB}/.landfall/login`)
    t.equal(page.status, 403)
    t.ok(page.body.includes(command), page.body.slice(-900))
  }
})

/** A way to log in that takes everybody for the same person. */
function knownPerson(person: Person): LoginMethod {
  let added: LoginMethodContext | undefined
  return {
    name: 'people',
    title: 'Log in',
    add: (context) => {
      added = context
    },
    begin: (_request, reply, flow) => added?.finish(reply, person, flow),
  }
}
