/**
 * The attacker sends a victim a link to a host that the victim trusts, whose login or log-out leads on to the attacker's
 * own site: a perfect start for phishing, and a way to have the login's code sent elsewhere. Where a login leads is a
 * path of the host that began it and nothing else, and a code goes only to names of the route table.
 */

import t from 'tap'
import { HOSTILE_PATHS } from '../auth/login/hostile-paths.ts'
import { edgeCall } from '../helpers/edge-call.ts'
import { ADA, COOKIE, grantsTo, LOGIN_HOST, loginSceneFor, WEB } from '../helpers/login-scene.ts'

const CHALLENGE = 'A'.repeat(43)

t.test('a login ends on the host that it began on, whatever "to" says', async (t) => {
  const { browser, logIn, share, urlOf } = await loginSceneFor(t)
  await share(WEB, { grants: grantsTo(ADA) })
  const victim = browser()
  await logIn(victim, WEB, ADA)
  for (const to of HOSTILE_PATHS) {
    const page = await victim.visit(`${urlOf(WEB)}.landfall/login?${new URLSearchParams({ to })}`)
    t.equal(page.url.href, urlOf(WEB), encodeURIComponent(to))
    t.equal(page.status, 200)
  }
  const twice = await victim.visit(`${urlOf(WEB)}.landfall/login?to=/a&to=//other.test`)
  t.equal(twice.url.href, urlOf(WEB))
})

t.test('a private page asked for by a hostile target leads back to the host itself', async (t) => {
  const { edge, browser, logIn, share, urlOf } = await loginSceneFor(t)
  await share(WEB, { grants: grantsTo(ADA) })
  const victim = browser()
  await logIn(victim, WEB, ADA)
  victim.jar.get(WEB)?.delete(COOKIE)
  let redirects = 0
  for (const path of ['//other.test/x', '//other.test/%2e%2e', '/.//other.test', '/%09/other.test']) {
    const headers = { accept: 'text/html', 'sec-fetch-mode': 'navigate' }
    const answer = await edgeCall(edge, { hostname: WEB, path, headers })
    if (answer.status !== 303) {
      t.equal(answer.status, 400, path)
      continue
    }
    redirects += 1
    const location = String(answer.headers.location)
    t.match(location, /^\/\.landfall\/login\?to=/, path)
    const page = await victim.visit(new URL(location, urlOf(WEB)))
    t.equal(page.url.host, new URL(urlOf(WEB)).host, path)
    victim.jar.get(WEB)?.delete(COOKIE)
  }
  t.ok(redirects > 0, 'not all are refused before')
})

t.test('the login host sends nobody to a name that is not in the table', async (t) => {
  const { browser, logIn, share, urlOf } = await loginSceneFor(t)
  await share(WEB, { grants: grantsTo(ADA) })
  const victim = browser()
  await logIn(victim, WEB, ADA)
  const names = [
    'other.test',
    `${WEB}.other.test`,
    `other.test/${WEB}`,
    `other.test#${WEB}`,
    `other.test?${WEB}`,
    `${WEB}@other.test`,
    `${WEB}:443@other.test`,
    `${WEB}\\@other.test`,
    `//other.test`,
    `https://other.test`,
    `${WEB}\u0000.other.test`,
    'web.example.test.',
    'WEB.EXAMPLE.TEST/x',
    LOGIN_HOST,
    'admin.example.test',
    '',
  ]
  for (const host of names) {
    const query = new URLSearchParams({ host, challenge: CHALLENGE })
    const answer = await victim.ask(`${urlOf(LOGIN_HOST)}start?${query}`)
    t.equal(answer.status, 404, encodeURIComponent(host))
    t.equal(answer.headers.location, undefined)
    t.notMatch(answer.body, /http-equiv/)
  }
})

t.test('forwarding fields and Host do not move the login host', async (t) => {
  const { edge, share, urlOf } = await loginSceneFor(t, { LANDFALL_TRUSTED_PROXIES: '127.0.0.1' })
  await share(WEB)
  const spoofed = { 'x-forwarded-host': 'other.test', forwarded: 'host=other.test', 'x-forwarded-port': '81' }
  for (const headers of [spoofed, { host: `${WEB}:81` }, { host: `${WEB.toUpperCase()}` }]) {
    const answer = await edgeCall(edge, { hostname: WEB, path: '/.landfall/login', headers })
    t.equal(answer.status, 303)
    const target = new URL(String(answer.headers.location))
    t.equal(`${target.origin}/`, urlOf(LOGIN_HOST))
    t.equal(target.searchParams.get('host'), WEB)
  }
})
