/**
 * The attacker gets hold of the code that takes a login from the login host to a VM host: from a log, a history, a proxy
 * or over a shoulder. It is good for nothing: it counts once in the whole fleet, for a minute, for one host, and only
 * together with a secret that never left the victim's browser.
 */

import t from 'tap'
import { LoginError } from '../../auth/login/errors.ts'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import type { Answer, TestBrowser } from '../auth/login/browser.ts'
import {
  ADA,
  grantTo,
  HOST,
  LOGIN,
  type LoginKit,
  logInAs,
  loginKitFor,
  routeOf,
  WEB,
} from '../auth/login/login-kit.ts'

const COOKIE = '__Host-landfall'
const FLOW = '__Host-landfall-flow-'
const OTHER = 'api.example.test'

/** ADA may come in at both hosts, and is logged in. */
async function sceneFor(t: Parameters<typeof loginKitFor>[0], kit: LoginKit): Promise<TestBrowser> {
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  kit.routes.set(OTHER, routeOf({ hostname: OTHER, vm: 'api', grants: [grantTo('email', ADA)] }))
  const victim = kit.browser()
  t.equal((await logInAs(victim, ADA)).url.hostname, HOST)
  victim.jar.get(HOST)?.delete(COOKIE)
  return victim
}

/** Stops before the code is taken; the browser holds the secret for it. */
async function codeUrlOf(victim: TestBrowser, path = '/.landfall/login'): Promise<string> {
  const begun = await victim.ask(`${WEB}${path}`)
  return String((await victim.ask(String(begun.headers.location))).headers.location)
}

/** The Cookie field with all logins under way. */
function flowsOf(victim: TestBrowser): string {
  const flows = [...(victim.jar.get(HOST) ?? [])].filter(([name]) => name.startsWith(FLOW))
  return flows.map(([name, value]) => `${name}=${value}`).join('; ')
}

/** The answer to a code that does not count: on to a page that has no code in its address. */
const FAILED = { status: 303, headers: { location: /^\/\.landfall\/login-failed\?why=\w+$/ } }

const isIn = ({ headers }: Answer) =>
  [headers['set-cookie'] ?? []].flat().some((line) => line.startsWith(`${COOKIE}=ey`))

t.test('a code counts once, also in the browser that it was made for', async (t) => {
  const kit = await loginKitFor(t)
  const victim = await sceneFor(t, kit)
  const url = await codeUrlOf(victim)
  const cookie = flowsOf(victim)
  t.equal(isIn(await victim.ask(url)), true)
  const again = await kit.browser().ask(url, { headers: { cookie } })
  t.match(again, FAILED)
  t.equal(isIn(again), false)
})

t.test('a code that was stolen does not count without the secret, and is spent by the try', async (t) => {
  const kit = await loginKitFor(t)
  const victim = await sceneFor(t, kit)
  const url = await codeUrlOf(victim)
  const thief = kit.browser()
  t.match(await thief.visit(url), { status: 400, body: /login_cookies_missing/ })
  t.equal(isIn(await victim.ask(url)), false, 'spent by a browser without any login')
  const other = await codeUrlOf(victim)
  await thief.ask(`${WEB}/.landfall/login`)
  const withOwn = await thief.ask(other)
  t.match(withOwn, FAILED, 'a browser with a login of its own')
  t.equal(isIn(withOwn), false)
  t.equal(isIn(await victim.ask(other)), false)
})

t.test(
  "a code that the attacker began is spent by the victim's browser, and not shown to the host",
  async (t) => {
    const kit = await loginKitFor(t)
    const victim = await sceneFor(t, kit)
    const attacker = kit.browser()
    const begun = await attacker.ask(`${WEB}/.landfall/login`)
    // He has the secret; the victim, whom the owner knows, opens what he sends.
    const start = String(begun.headers.location)
    const asked = await victim.ask(start, { from: new URL('https://other.test/') })
    t.match(asked, { status: 200, body: /A page of another site/ }, 'another site leads to a question')
    const url = String((await victim.ask(start, { from: new URL(`https://${OTHER}/`) })).headers.location)
    t.match(url, /callback\?code=/, 'a sibling looks like the host itself')
    const landed = await victim.ask(url)
    t.match(landed, FAILED, 'the address bar has no code')
    t.equal(isIn(await attacker.ask(url)), false)
  },
)

t.test('a code does not stay in the address bar while it cannot be looked up', async (t) => {
  const kit = await loginKitFor(t)
  const victim = await sceneFor(t, kit)
  const url = await codeUrlOf(victim)
  const { takeCode } = kit.logins
  kit.logins.takeCode = () => Promise.reject(new LoginError('login_internal'))
  t.match(await victim.ask(url), FAILED)
  t.match(await victim.visit(url), { status: 503, body: /login_interrupted/ })
  kit.logins.takeCode = takeCode
  t.equal((await victim.visit(`${WEB}/.landfall/login?to=/x`)).url.pathname, '/x')
})

t.test('a code of one host does not count at another', async (t) => {
  const kit = await loginKitFor(t)
  const victim = await sceneFor(t, kit)
  const url = new URL(await codeUrlOf(victim))
  await victim.ask(`https://${OTHER}/.landfall/login`)
  const moved = await victim.ask(`https://${OTHER}${url.pathname}${url.search}`)
  t.match(moved, FAILED)
  t.equal(isIn(moved), false)
})

t.test('a code counts for a minute', async (t) => {
  const kit = await loginKitFor(t)
  const victim = await sceneFor(t, kit)
  const url = await codeUrlOf(victim)
  kit.clock.ms += 60_001
  t.match(await victim.ask(url), FAILED)
})

t.test('a code does not outlive the session that it came from', async (t) => {
  const kit = await loginKitFor(t)
  const victim = await sceneFor(t, kit)
  const url = await codeUrlOf(victim)
  const session = await kit.keys.verify(victim.cookie('auth.example.test', '__Host-landfall-session') ?? '', {
    kind: 'session',
    audience: 'auth.example.test',
  })
  await kit.logins.endSession(session.jti)
  t.equal(isIn(await victim.ask(url)), false)
})

t.test('two edges that are given one code at once let one of them in', async (t) => {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const clock = { ms: Date.now() }
  const one = await loginKitFor(t, { store, clock })
  const two = await loginKitFor(t, { store, clock })
  const victim = await sceneFor(t, one)
  await sceneFor(t, two)
  for (let round = 0; round < 10; round += 1) {
    const url = await codeUrlOf(victim)
    const headers = { cookie: flowsOf(victim) }
    const edges = [one, two, one, two]
    const answers = await Promise.all(edges.map((kit) => kit.browser().ask(url, { headers })))
    t.equal(answers.filter(isIn).length, 1, `round ${round}`)
  }
})

t.test('what is no code is refused without a look into the store', async (t) => {
  const kit = await loginKitFor(t)
  const victim = await sceneFor(t, kit)
  await victim.ask(`${WEB}/.landfall/login`)
  for (const query of [
    '',
    '?code=',
    '?code=x',
    `?code=${'x'.repeat(44)}`,
    '?code=a&code=b',
    '?code=../session/x',
  ]) {
    t.match(await victim.ask(`${WEB}/.landfall/callback${query}`), FAILED, query)
  }
  t.match(await victim.ask(`${LOGIN}/.landfall/callback?code=x`), { status: 404 })
})
