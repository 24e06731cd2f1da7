/**
 * The attacker has a VM beside the victim's, on the same platform domain, and sets cookies for the whole domain from it:
 * his own session, his own login under way, or a cookie with a name that the edge takes for its own. The browser would
 * send them to the victim's host, and the victim would work as the attacker. Our cookies have the prefix `__Host-`,
 * which browsers keep for one host; what still comes beside them, or looks like them, counts as none.
 */

import t from 'tap'
import type { TestBrowser } from '../auth/login/browser.ts'
import { edgeCall } from '../helpers/edge-call.ts'
import {
  ADA,
  COOKIE,
  EVIL,
  FLOW,
  grantsTo,
  LOGIN_HOST,
  type LoginScene,
  loginSceneFor,
  MALLORY,
  SESSION,
  WEB,
} from '../helpers/login-scene.ts'

/** Name and value of the login that is under way. */
function flowOf(browser: TestBrowser): readonly [string, string] {
  const flow = [...(browser.jar.get(WEB) ?? [])].find(([name]) => name.startsWith(`${FLOW}-`))
  if (flow === undefined) throw new Error('no login is under way')
  return flow
}

async function sceneFor(t: Parameters<typeof loginSceneFor>[0]): Promise<LoginScene> {
  const scene = await loginSceneFor(t)
  await scene.share(WEB, { grants: grantsTo(ADA, MALLORY) })
  await scene.share(EVIL, { visibility: 'public', pool: 'evil' })
  return scene
}

t.test('every cookie of ours is for one host, out of reach of scripts and of plain HTTP', async (t) => {
  const scene = await sceneFor(t)
  const lines: string[] = []
  const victim = scene.browser()
  const keep = (headers: Readonly<Record<string, unknown>>) =>
    lines.push(...([headers['set-cookie'] ?? []].flat() as string[]))
  const begun = await victim.ask(`${scene.urlOf(WEB)}.landfall/login`)
  keep(begun.headers)
  const choice = await victim.ask(String(begun.headers.location))
  const [, flow = ''] = /name="flow" value="([^"]+)"/.exec(choice.body) ?? []
  const people = new URL('/people', scene.urlOf(LOGIN_HOST))
  const step = await victim.ask(people, { form: { flow, email: ADA }, from: people })
  keep(step.headers)
  const [, callback = ''] = /content="0;url=([^"]+)"/.exec(step.body) ?? []
  keep((await victim.ask(callback.replaceAll('&amp;', '&'))).headers)
  const names = lines.map((line) => line.split('=')[0]?.replace(/(?<=-flow)-[\w-]{8}$/, ''))
  t.same([...new Set(names)].sort(), [COOKIE, FLOW, SESSION])
  for (const line of lines) {
    for (const part of ['; Path=/', '; Secure', '; HttpOnly', '; SameSite=Lax'])
      t.ok(line.includes(part), line)
    t.notMatch(line, /domain/i)
  }
})

t.test(
  "the attacker's cookie does not count under any other name than the one browsers protect",
  async (t) => {
    const scene = await sceneFor(t)
    const attacker = scene.browser()
    await scene.logIn(attacker, WEB, MALLORY)
    const value = attacker.cookie(WEB, COOKIE)
    t.match(await scene.whois(WEB, `${COOKIE}=${value}`), { email: MALLORY }, 'it counts under its own name')
    const names = [
      '__host-landfall',
      '__HOST-LANDFALL',
      '__Host-Landfall',
      'landfall',
      '__Secure-landfall',
      ' \u00a0__Host-landfall',
      '\u00a0__Host-landfall',
      '__Host-landfall ',
      '__Host-landfall\u00a0',
      '"__Host-landfall"',
      'x=__Host-landfall',
      '%5F%5FHost-landfall',
    ]
    for (const name of names) {
      t.same(await scene.whois(WEB, `${name}=${value}`), { host: WEB }, encodeURIComponent(name))
    }
  },
)

t.test("the attacker's cookie beside the victim's does not make the victim the attacker", async (t) => {
  const scene = await sceneFor(t)
  const [victim, attacker] = [scene.browser(), scene.browser()]
  await scene.logIn(victim, WEB, ADA)
  await scene.logIn(attacker, WEB, MALLORY)
  const [own, tossed] = [victim.cookie(WEB, COOKIE), attacker.cookie(WEB, COOKIE)]
  for (const cookie of [`${COOKIE}=${tossed}; ${COOKIE}=${own}`, `${COOKIE}=${own}; ${COOKIE}=${tossed}`]) {
    const answer = await edgeCall(scene.edge, { hostname: WEB, headers: { cookie } })
    t.equal(answer.status, 401)
    t.notMatch(answer.body, MALLORY)
  }
  t.equal(
    scene.vm.requests.some(
      ({ headers }) => 'x-landfall-user' in headers && String(headers.cookie).includes('landfall'),
    ),
    false,
  )
})

t.test('a session that was tossed to the login host logs nobody in as the attacker', async (t) => {
  const scene = await sceneFor(t)
  const [victim, attacker] = [scene.browser(), scene.browser()]
  await scene.logIn(victim, WEB, ADA)
  await scene.logIn(attacker, WEB, MALLORY)
  const [own, tossed] = [victim.cookie(LOGIN_HOST, SESSION), attacker.cookie(LOGIN_HOST, SESSION)]
  const page = async (cookie: string) =>
    (await edgeCall(scene.edge, { hostname: LOGIN_HOST, headers: { cookie, accept: 'text/html' } })).body
  t.match(await page(`${SESSION}=${tossed}`), MALLORY, 'alone it would')
  for (const cookie of [`${SESSION}=${tossed}; ${SESSION}=${own}`, `\u00a0${SESSION}=${tossed}`]) {
    t.match(await page(cookie), /Who are you\?/)
  }
})

t.test('a login under way that was tossed does not take the code of the attacker', async (t) => {
  const scene = await sceneFor(t)
  const attacker = scene.browser()
  await scene.logIn(attacker, WEB, MALLORY)
  const begun = await attacker.ask(`${scene.urlOf(WEB)}.landfall/login`)
  const callback = new URL(String((await attacker.ask(String(begun.headers.location))).headers.location))
  const [name, tossed] = flowOf(attacker)
  const victim = scene.browser()
  await victim.ask(`${scene.urlOf(WEB)}.landfall/login`)
  const own = flowOf(victim).join('=')
  const path = `${callback.pathname}${callback.search}`
  for (const cookie of [
    `${name}=${tossed}; ${name}=x; ${own}`,
    `\u00a0${name}=${tossed}; ${own}`,
    `${name.toLowerCase()}=${tossed}; ${own}`,
    `${own.split('=')[0]}=${tossed}`,
  ]) {
    const answer = await edgeCall(scene.edge, { hostname: WEB, path, headers: { cookie } })
    t.match(answer, { status: 303, headers: { location: /^\/\.landfall\/login-failed/ } })
    t.notMatch(String(answer.headers['set-cookie']), new RegExp(`${COOKIE}=ey`))
  }
})

t.test('a cookie of one host, or of another kind, does not count at another host', async (t) => {
  const scene = await sceneFor(t)
  const victim = scene.browser()
  await scene.logIn(victim, WEB, ADA)
  const values = [victim.cookie(WEB, COOKIE), victim.cookie(LOGIN_HOST, SESSION)]
  for (const value of values) {
    t.same(await scene.whois(EVIL, `${COOKIE}=${value}`), { host: EVIL })
    const answer = await edgeCall(scene.edge, {
      hostname: LOGIN_HOST,
      headers: { cookie: `${SESSION}=${values[0]}`, accept: 'text/html' },
    })
    t.match(answer.body, /Who are you\?/)
  }
})

t.test('the VM gets none of our cookies, tossed or not', async (t) => {
  const scene = await sceneFor(t)
  const victim = scene.browser()
  await scene.logIn(victim, WEB, ADA)
  const own = `${COOKIE}=${victim.cookie(WEB, COOKIE)}`
  const cookie = `a=1; ${own}; ${SESSION}=x; ${FLOW}=y; __HOST-landfall-z=1; b=2`
  t.equal((await edgeCall(scene.edge, { hostname: WEB, headers: { cookie } })).status, 200)
  const seen = scene.vm.requests.at(-1)
  t.equal(seen?.headers.cookie, 'a=1; b=2')
  t.equal(seen?.headers['x-landfall-email'], ADA)
})
