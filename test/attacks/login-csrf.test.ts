/**
 * The attacker logs the victim in as himself: he begins a login, keeps the last step for himself and has the victim's
 * browser take it. What the victim then enters, uploads or connects lands in the attacker's account. A login's code
 * counts only in the browser that began it, and no form of ours takes a request from another site.
 */

import t from 'tap'
import {
  ADA,
  COOKIE,
  EVIL,
  grantsTo,
  LOGIN_HOST,
  type LoginScene,
  loginSceneFor,
  MALLORY,
  SESSION,
  WEB,
} from '../helpers/login-scene.ts'

/** The callback URL of a login that the attacker stopped at its last step. */
async function callbackOf({ browser, logIn, urlOf }: LoginScene): Promise<URL> {
  const attacker = browser()
  await logIn(attacker, WEB, MALLORY)
  const begun = await attacker.ask(`${urlOf(WEB)}.landfall/login`)
  const step = await attacker.ask(String(begun.headers.location))
  return new URL(String(step.headers.location))
}

t.test("the attacker's code does not count in a browser that began no login", async (t) => {
  const scene = await loginSceneFor(t)
  await scene.share(WEB, { grants: grantsTo(ADA, MALLORY) })
  const victim = scene.browser()
  const answer = await victim.visit(await callbackOf(scene))
  t.match(answer, { status: 400, body: /login_cookies_missing/ })
  t.equal(victim.cookie(WEB, COOKIE), undefined)
})

t.test('it does not count in a browser that is in the middle of a login of its own', async (t) => {
  const scene = await loginSceneFor(t)
  await scene.share(WEB, { grants: grantsTo(ADA, MALLORY) })
  const victim = scene.browser()
  const page = await victim.visit(`${scene.urlOf(WEB)}.landfall/login?to=/mine`)
  t.match(await victim.visit(await callbackOf(scene)), { status: 400, body: /login_cookies_missing/ })
  t.equal(victim.cookie(WEB, COOKIE), undefined)
  const own = await victim.submit(page, { email: ADA })
  t.equal(own.url.pathname, '/mine', "the victim's own login goes on")
  t.match(await scene.whois(WEB, `${COOKIE}=${victim.cookie(WEB, COOKIE)}`), { email: ADA })
})

t.test('it does not replace the login of somebody who is in', async (t) => {
  const scene = await loginSceneFor(t)
  await scene.share(WEB, { grants: grantsTo(ADA, MALLORY) })
  const victim = scene.browser()
  await scene.logIn(victim, WEB, ADA)
  await victim.visit(await callbackOf(scene))
  t.match(await scene.whois(WEB, `${COOKIE}=${victim.cookie(WEB, COOKIE)}`), { email: ADA })
})

t.test('no other site can send the form that logs in at the login host', async (t) => {
  const scene = await loginSceneFor(t)
  await scene.share(WEB, { grants: grantsTo(ADA, MALLORY) })
  const page = await scene.browser().visit(`${scene.urlOf(WEB)}.landfall/login`)
  const [, flow = ''] = /name="flow" value="([^"]+)"/.exec(page.body) ?? []
  t.ok(flow, 'the attacker has a form of his own')
  const form = { flow, email: MALLORY }
  const sources = [EVIL, 'other.test', WEB]
  for (const from of sources) {
    const victim = scene.browser()
    const answer = await victim.visit(new URL('/people', scene.urlOf(LOGIN_HOST)), {
      form,
      from: new URL(`https://${from}/`),
    })
    t.match(answer, { status: 403, body: /login_origin/ }, from)
    t.equal(victim.cookie(LOGIN_HOST, SESSION), undefined)
  }
})
