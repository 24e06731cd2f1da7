/** What every answer of the login service has, and what each path refuses. */

import t from 'tap'
import { FAULTS } from '../../../auth/login/errors.ts'
import { ADA, grantTo, HOST, LOGIN, logInAs, loginKitFor, routeOf, WEB } from './login-kit.ts'

const PATHS: Readonly<Record<string, readonly string[]>> = {
  [`${WEB}/.landfall/login`]: ['GET'],
  [`${WEB}/.landfall/callback`]: ['GET'],
  [`${WEB}/.landfall/login-failed`]: ['GET'],
  [`${WEB}/.landfall/logout`]: ['POST'],
  [`${WEB}/.landfall/whoami`]: ['GET', 'HEAD'],
  [`${WEB}/.landfall/share`]: ['GET', 'POST'],
  [`${WEB}/.well-known/landfall/jwks.json`]: ['GET', 'HEAD'],
  [`${LOGIN}/`]: ['GET'],
  [`${LOGIN}/start`]: ['GET'],
  [`${LOGIN}/consent`]: ['POST'],
  [`${LOGIN}/logout`]: ['POST'],
  [`${LOGIN}/people`]: ['POST'],
  [`${LOGIN}/.well-known/landfall/jwks.json`]: ['GET', 'HEAD'],
}
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

t.test('answers other methods with 405 and says which there are', async (t) => {
  const kit = await loginKitFor(t)
  const browser = kit.browser()
  for (const [url, allowed] of Object.entries(PATHS)) {
    for (const method of METHODS.filter((method) => !allowed.includes(method))) {
      const answer = await browser.ask(url, { method })
      t.match(answer, { status: 405, headers: { allow: allowed.join(', ') } }, `${method} ${url}`)
    }
  }
})

t.test('knows no other paths, and keeps the hosts apart', async (t) => {
  const kit = await loginKitFor(t)
  const browser = kit.browser()
  const urls = [
    `${WEB}/.landfall/`,
    `${WEB}/.landfall/nothing`,
    `${WEB}/start`,
    `${WEB}/people`,
    `${WEB}/login-host/start`,
    `${LOGIN}/.landfall/login`,
    `${LOGIN}/.landfall/whoami`,
    `${LOGIN}/vm-host/.landfall/whoami`,
    `${LOGIN}/nothing`,
  ]
  for (const url of urls) t.match(await browser.ask(url), { status: 404, body: /login_not_found/ }, url)
  const problem = await browser.ask(`${WEB}/.landfall/nothing`, { headers: { accept: '*/*' } })
  t.equal(problem.headers['content-type'], 'application/problem+json')
  t.match(JSON.parse(problem.body), {
    code: 'login_not_found',
    status: 404,
    next: FAULTS.login_not_found.next,
  })
})

t.test('gives every answer the fields that keep it from frames, scripts, caches and referrers', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ visibility: 'public', grants: [grantTo('email', 'x@example.test')] }))
  const browser = kit.browser()
  const question = await logInAs(browser, ADA)
  const answers = [
    question,
    await browser.ask(`${LOGIN}/`),
    await browser.ask(`${WEB}/.landfall/login`),
    await browser.ask(`${WEB}/.landfall/nothing`),
    await browser.ask(`${WEB}/.landfall/whoami`),
    await browser.ask(`${WEB}/.landfall/login`, { method: 'PUT' }),
    await kit.browser().visit(`${LOGIN}/`),
  ]
  for (const { headers, body, url } of answers) {
    t.match(
      headers,
      { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'x-content-type-options': 'nosniff' },
      url.href,
    )
    const policy = String(headers['content-security-policy'])
    for (const part of ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'"]) {
      t.ok(policy.includes(part), `${url.href} ${part}`)
    }
    t.notMatch(body, /<script|<img|<link|\son\w+=/i)
  }
})

t.test('serves the public keys on every host', async (t) => {
  const kit = await loginKitFor(t)
  for (const host of [HOST, 'auth.example.test', 'nobody.example.test']) {
    const answer = await kit.browser().ask(`https://${host}/.well-known/landfall/jwks.json`)
    t.match(answer, { status: 200, headers: { 'access-control-allow-origin': '*' } })
    t.same(JSON.parse(answer.body), kit.keys.jwks())
  }
})

t.test('refuses forms that are too large or of another type', async (t) => {
  const kit = await loginKitFor(t)
  const browser = kit.browser()
  const from = new URL(LOGIN)
  const large = await browser.ask(`${LOGIN}/people`, { form: { x: 'x'.repeat(20_000) }, from })
  t.match(large, { status: 413, body: /login_body_too_large/ })
  const json = await browser.ask(`${LOGIN}/people`, {
    form: {},
    from,
    headers: { 'content-type': 'application/json' },
  })
  t.match(json, { status: 400, body: /login_request_malformed/ })
})

t.test('refuses parameters that our pages do not make', async (t) => {
  const kit = await loginKitFor(t)
  const browser = kit.browser()
  for (const query of [
    `host=${HOST}`,
    `host=${HOST}&challenge=short`,
    `host=${HOST}&host=${HOST}&challenge=x`,
  ]) {
    const answer = await browser.ask(`${LOGIN}/start?${query}`)
    t.ok([200, 400].includes(answer.status), query)
    t.notOk(answer.headers.location)
  }
})

t.test('repeats no markup of a host name or a query', async (t) => {
  const kit = await loginKitFor(t)
  const host = 'x.example.test'
  const answer = await kit.browser().ask(`https://${host}/.landfall/login`, {
    headers: { host: '"><script>alert(1)</script>' },
  })
  t.notMatch(answer.body, /<script/)
  const page = await kit.browser().visit(`${WEB}/.landfall/login?to=/"><script>alert(1)</script>`)
  t.notMatch(page.body, /<script/)
})

t.test('tells whoever asks who they are', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  t.same(JSON.parse((await browser.ask(`${WEB}/.landfall/whoami`)).body), { host: HOST })
  await logInAs(browser, ADA)
  const view = JSON.parse((await browser.ask(`${WEB}/.landfall/whoami`)).body)
  t.match(view, { host: HOST, kind: 'user', user: ADA, email: ADA, role: 'viewer' })
  t.ok(Date.parse(view.expiresAt) > kit.clock.ms)
  const forged = await browser.ask(`${WEB}/.landfall/whoami`, {
    headers: { 'x-landfall-authorization': 'Bearer x.y.z', accept: '*/*' },
  })
  t.match(forged, { status: 401, headers: { 'www-authenticate': `Bearer realm="${HOST}"` } })
})

t.test(
  'charges forgeries to the address that the nearest trusted proxy wrote, not to what a client claims',
  async (t) => {
    const kit = await loginKitFor(t, { failuresPerSecond: 1 })
    const token = await kit.keys.sign({
      ...{ kind: 'cookie', audience: HOST, subject: ADA, claims: { sid: 'session-1' } },
      expiresAt: Math.floor(kit.clock.ms / 1_000) + 3_600,
    })
    const ask = async (address: string, round: number) => {
      const forged = `${token.slice(0, -8)}${String(round).padStart(4, 'A')}AAAA`
      const cookie = `__Host-landfall=${forged}`
      const headers = { cookie, 'x-forwarded-for': address }
      return (await kit.browser().ask(`${WEB}/.landfall/whoami`, { headers })).status
    }
    const statuses: number[] = []
    for (let round = 0; round < 12; round += 1) {
      statuses.push(await ask(`203.0.113.${round}, 192.0.2.7, 198.51.100.1`, round))
    }
    t.ok(statuses.includes(429), statuses.join())
    t.equal(await ask('192.0.2.8, 198.51.100.1', 100), 200)
    t.equal(await ask('192.0.2.9', 101), 200)
  },
)

t.test('answers nothing that hangs on a key while it knows none', async (t) => {
  const kit = await loginKitFor(t, { jwks: () => ({ keys: [] }) })
  const browser = kit.browser()
  const urls = [
    `${WEB}/.well-known/landfall/jwks.json`,
    `${WEB}/.landfall/login`,
    `${WEB}/.landfall/whoami`,
    `${WEB}/.landfall/share?link=x`,
    `${LOGIN}/`,
    `${LOGIN}/start?host=${HOST}&challenge=${'a'.repeat(43)}`,
  ]
  for (const url of urls) {
    const answer = await browser.ask(url)
    t.match(answer, { status: 503, body: /auth_stale/, headers: { 'cache-control': 'no-store' } }, url)
  }
})

t.test('leads from plain HTTP to where its cookies count', async (t) => {
  const kit = await loginKitFor(t)
  const headers = { 'x-forwarded-proto': 'http' }
  const ask = (url: string) => kit.browser().ask(url, { headers })
  for (const url of [`${WEB}/.landfall/login?to=/x`, `${LOGIN}/`]) {
    const answer = await ask(url)
    t.match(answer, { status: 303, headers: { location: url } })
    t.equal(answer.headers['set-cookie'], undefined)
  }
  t.equal((await ask(`${WEB}/.well-known/landfall/jwks.json`)).status, 200)
  t.equal((await ask('https://nobody.example.test/.landfall/login')).status, 404)
})

t.test('a session that was seen before is not kept out by forgeries of its neighbours', async (t) => {
  const kit = await loginKitFor(t, { failuresPerSecond: 1 })
  const browser = kit.browser()
  await browser.submit(await browser.visit(`${LOGIN}/`), { email: ADA })
  t.match((await browser.ask(`${LOGIN}/`)).body, ADA)
  const text = browser.cookie('auth.example.test', '__Host-landfall-session') ?? ''
  const statuses: number[] = []
  for (let round = 0; round < 12; round += 1) {
    const cookie = `__Host-landfall-session=${text.slice(0, -8)}${String(round).padStart(4, 'A')}AAAA`
    statuses.push((await kit.browser().ask(`${LOGIN}/`, { headers: { cookie } })).status)
  }
  t.ok(statuses.includes(429), statuses.join())
  t.match(await browser.ask(`${LOGIN}/`), { status: 200, body: /You are ada@example\.test/ })
  kit.clock.ms += 31 * 86_400_000
  t.match((await browser.ask(`${LOGIN}/`)).body, /Who are you\?/)
})
