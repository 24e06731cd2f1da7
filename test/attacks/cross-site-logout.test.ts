/**
 * The attacker's page, on a sibling VM or anywhere, logs its visitors out: of one host, or of everything. It is a
 * nuisance by itself and the first half of a login in another's name. Only the host's own pages can log out: a
 * sibling is of the same site for SameSite, so the browser's word on the origin decides.
 */

import t from 'tap'
import { edgeCall } from '../helpers/edge-call.ts'
import {
  ADA,
  COOKIE,
  EVIL,
  grantsTo,
  LOGIN_HOST,
  loginSceneFor,
  MALLORY,
  SESSION,
  WEB,
} from '../helpers/login-scene.ts'

const SOURCES: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ['a sibling VM', { 'sec-fetch-site': 'same-site', origin: `https://${EVIL}` }],
  ['another site', { 'sec-fetch-site': 'cross-site', origin: 'https://other.test' }],
  ['a frame without an origin', { 'sec-fetch-site': 'cross-site', origin: 'null' }],
  ['a sibling VM in an old browser', { origin: `https://${EVIL}` }],
  ['a frame in an old browser', { origin: 'null' }],
  ['plain HTTP on the same name', { origin: `http://${WEB}` }],
  ['a name that begins like it', { origin: `https://${WEB}.other.test` }],
  ['a form that says nothing', {}],
]

t.test('no other origin can log out of a VM host', async (t) => {
  const { edge, browser, logIn, share, whois } = await loginSceneFor(t)
  await share(WEB, { grants: grantsTo(ADA) })
  const victim = browser()
  await logIn(victim, WEB, ADA)
  const cookie = `${COOKIE}=${victim.cookie(WEB, COOKIE)}`
  for (const [what, headers] of SOURCES) {
    const ask = { hostname: WEB, method: 'POST', path: '/.landfall/logout', headers: { cookie, ...headers } }
    const answer = await edgeCall(edge, ask)
    t.equal(answer.status, 403, what)
    t.equal(answer.headers['set-cookie'], undefined, what)
  }
  const image = { hostname: WEB, path: '/.landfall/logout', headers: { cookie } }
  t.match(await edgeCall(edge, image), { status: 405, headers: { allow: 'POST' } })
  t.match(await whois(WEB, cookie), { email: ADA })
})

t.test('no other origin can log out of everything, with or without a form of its own session', async (t) => {
  const { browser, edge, logIn, share, urlOf } = await loginSceneFor(t)
  await share(WEB, { grants: grantsTo(ADA, MALLORY) })
  const [victim, attacker] = [browser(), browser()]
  await logIn(victim, WEB, ADA)
  await logIn(attacker, WEB, MALLORY)
  const home = await attacker.visit(urlOf(LOGIN_HOST))
  const [, token = ''] = /name="token" value="([^"]+)"/.exec(home.body) ?? []
  t.ok(token)
  const cookie = `${SESSION}=${victim.cookie(LOGIN_HOST, SESSION)}`
  const type = 'application/x-www-form-urlencoded'
  for (const [what, headers] of SOURCES) {
    for (const body of ['', `token=${token}`]) {
      const fields = { cookie, 'content-type': type, ...headers }
      const answer = await edgeCall(edge, {
        hostname: LOGIN_HOST,
        method: 'POST',
        path: '/logout',
        headers: fields,
        body,
      })
      t.equal(answer.status, 403, what)
    }
  }
  const own = { cookie, 'content-type': type, 'sec-fetch-site': 'same-origin' }
  const call = { hostname: LOGIN_HOST, method: 'POST', path: '/logout', headers: own, body: `token=${token}` }
  t.equal((await edgeCall(edge, call)).status, 410, "a token of the attacker's session")
  t.match((await victim.visit(urlOf(LOGIN_HOST))).body, /You are ada@example\.test/)
})
