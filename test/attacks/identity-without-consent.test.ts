/**
 * The attacker owns a VM and wants to know who visits it. His public page sends each visitor through the login, in the
 * open or in a frame; he lets in everybody of a mail provider; or he collects cookies while the port is private and
 * makes it public later. A host learns who somebody is only when its owner named them, or they said yes to it.
 */

import t from 'tap'
import type { TestBrowser } from '../auth/login/browser.ts'
import { edgeCall } from '../helpers/edge-call.ts'
import {
  ADA,
  COOKIE,
  EVIL,
  LOGIN_HOST,
  type LoginScene,
  loginSceneFor,
  MALLORY,
  WEB,
} from '../helpers/login-scene.ts'

/** Somebody who is logged in and has never been at the attacker's VM. */
async function victimOf({ browser, urlOf }: LoginScene): Promise<TestBrowser> {
  const victim = browser()
  await victim.submit(await victim.visit(urlOf(LOGIN_HOST)), { email: ADA })
  return victim
}

function learned({ vm }: LoginScene): boolean {
  return vm.requests.some(({ rawHeaders }) => rawHeaders.some((text) => text.includes(ADA)))
}

t.test('a public page cannot learn who visits it by sending them through the login', async (t) => {
  const scene = await loginSceneFor(t)
  await scene.share(EVIL, { visibility: 'public' })
  const victim = await victimOf(scene)
  const page = await victim.visit(`${scene.urlOf(EVIL)}.landfall/login?to=/x`, {
    from: new URL(scene.urlOf(EVIL)),
  })
  t.equal(page.url.hostname, LOGIN_HOST, 'it ends in a question')
  t.match(page.body, /Continue to evil\.example\.test\?/)
  t.match(page.headers['content-security-policy'], /frame-ancestors 'none'/)
  t.equal(victim.cookie(EVIL, COOKIE), undefined)
  await victim.visit(scene.urlOf(EVIL))
  t.equal(learned(scene), false)
})

t.test('a grant to a whole mail provider does not tell who comes from there', async (t) => {
  const scene = await loginSceneFor(t)
  const domain = {
    id: 'domain-grant',
    to: { kind: 'domain', value: 'example.test' },
    role: 'viewer',
  } as const
  await scene.share(EVIL, { grants: [domain] })
  const victim = await victimOf(scene)
  const page = await victim.visit(scene.urlOf(EVIL))
  t.match(page.body, /Continue to evil\.example\.test\?/)
  t.equal(learned(scene), false)
})

t.test('a port that is private for the visit and public afterwards learns nothing either', async (t) => {
  const scene = await loginSceneFor(t)
  await scene.share(EVIL)
  const victim = await victimOf(scene)
  const page = await victim.visit(scene.urlOf(EVIL))
  t.match(page, { status: 403, body: /auth_forbidden/ })
  t.equal(victim.cookie(EVIL, COOKIE), undefined)
  await scene.share(EVIL, { visibility: 'public' })
  await victim.visit(scene.urlOf(EVIL))
  t.equal(scene.vm.requests.length, 1)
  t.equal(learned(scene), false)
})

t.test("the attacker's page cannot give the answer itself", async (t) => {
  const scene = await loginSceneFor(t)
  await scene.share(EVIL, { visibility: 'public' })
  const [victim, attacker] = [await victimOf(scene), scene.browser()]
  const question = await scene.logIn(attacker, EVIL, MALLORY)
  const own = await victim.visit(`${scene.urlOf(EVIL)}.landfall/login`)
  const consent = (body: string) => /name="consent" value="([^"]+)"/.exec(body)?.[1] ?? ''
  const to = new URL('/consent', scene.urlOf(LOGIN_HOST))
  for (const [what, text] of [
    ['his own question', question],
    ["the victim's", own],
  ] as const) {
    const form = { consent: consent(text.body), answer: 'yes' }
    t.ok(form.consent, what)
    const answer = await victim.visit(to, { form, from: new URL(scene.urlOf(EVIL)) })
    t.match(answer, { status: 403, body: /login_origin/ }, what)
  }
  const replayed = { consent: consent(question.body), answer: 'yes' }
  const answer = await victim.visit(to, { form: replayed, from: to })
  t.match(answer, { status: 410, body: /login_expired/ }, 'a question that somebody else was asked')
  const query = new URLSearchParams(replayed)
  t.equal((await victim.visit(`${to}?${query}`)).status, 405, 'an image')
  t.equal(victim.cookie(EVIL, COOKIE), undefined)
})

t.test('a question for one host does not let another one know', async (t) => {
  const scene = await loginSceneFor(t)
  await scene.share(WEB, { visibility: 'public' })
  await scene.share(EVIL, { visibility: 'public' })
  const victim = await victimOf(scene)
  const question = await victim.visit(`${scene.urlOf(WEB)}.landfall/login`)
  const page = await victim.submit(question, { answer: 'yes', host: EVIL, hostname: EVIL })
  t.equal(page.url.hostname, WEB)
  t.equal(victim.cookie(EVIL, COOKIE), undefined)
  const cookie = `${COOKIE}=${victim.cookie(WEB, COOKIE)}`
  await edgeCall(scene.edge, { hostname: EVIL, headers: { cookie } })
  t.notOk(
    scene.vm.requests.some(({ headers }) => headers.host?.startsWith(EVIL) && 'x-landfall-user' in headers),
  )
})
