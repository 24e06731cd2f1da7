/** The login at a provider when the provider, or somebody in between, does not play by the rules. */

import { generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'
import t, { type Test } from 'tap'
import type { ProviderScript } from '../../../helpers/scripted-provider.ts'
import { until } from '../../../helpers/until.ts'
import type { Answer } from '../browser.ts'
import { LOGIN, LOGIN_HOST } from '../login-kit.ts'
import { CALLBACK, comeBack, leaveFor, logInAtProvider, type OidcKit, oidcKitFor } from './oidc-kit.ts'

const SESSION = '__Host-landfall-session'
const EVIL = '<script>alert(1)</script>'

function checkRefused(t: Test, answer: Answer, { status, code }: { status: number; code: string }): void {
  t.equal(answer.status, status)
  t.match(answer.body, code)
  t.notMatch(answer.body, EVIL)
}

t.test('shows none of the provider’s words, and says what to do', async (t) => {
  for (const [error, status, code] of [
    ['access_denied', 403, 'login_provider_refused'],
    ['login_required', 403, 'login_provider_refused'],
    ['interaction_required', 403, 'login_provider_refused'],
    ['server_error', 502, 'login_provider_failed'],
    ['temporarily_unavailable', 502, 'login_provider_failed'],
    ['invalid_scope', 502, 'login_provider_failed'],
    [EVIL, 502, 'login_provider_failed'],
  ] as const) {
    const kit = await oidcKitFor(t)
    const browser = kit.browser()
    const answer = await logInAtProvider(kit, browser, { code: undefined, error, error_description: EVIL })
    checkRefused(t, answer, { status, code })
    t.match(
      kit.oidcLines.find((line) => line.code === code),
      { reason: 'authorization-response', error, description: EVIL },
      'the log has them',
    )
    t.equal(browser.cookie(LOGIN_HOST, SESSION), undefined)
    t.match(
      answer.body,
      '<a class="button" href="https://web.example.test/">Start again',
      'leads to the host',
    )
    t.same(kit.provider.exchanges, [])
  }
})

t.test('does not take an answer that was not asked for, or not by this browser', async (t) => {
  const kit = await oidcKitFor(t)
  const [browser, other] = [kit.browser(), kit.browser()]
  const url = await leaveFor(kit, browser)
  const query = kit.provider.authorize(url)
  const stranger = await comeBack(kit, kit.browser(), query)
  checkRefused(t, stranger, { status: 400, code: 'login_cookies_missing' })
  await leaveFor(kit, other)
  const unknown = await comeBack(kit, other, query)
  checkRefused(t, unknown, { status: 410, code: 'login_expired' })
  t.match(unknown.body, '<a class="button" href="/">Start again')
  for (const state of [undefined, '', 'another']) {
    const wrong = await comeBack(kit, browser, kit.provider.authorize(url, { state }))
    checkRefused(t, wrong, { status: 410, code: 'login_expired' })
  }
  const twice = await comeBack(kit, browser, `${query}&state=another`)
  checkRefused(t, twice, { status: 410, code: 'login_expired' })
  t.same(kit.provider.exchanges, [], 'no code was used')
  t.equal((await comeBack(kit, browser, query)).url.hostname, 'web.example.test', 'the right one still works')
})

t.test('a callback works once', async (t) => {
  const kit = await oidcKitFor(t)
  const browser = kit.browser()
  const query = kit.provider.authorize(await leaveFor(kit, browser))
  await comeBack(kit, browser, query)
  checkRefused(t, await comeBack(kit, browser, query), { status: 410, code: 'login_expired' })
  t.equal(kit.provider.exchanges.length, 1)
})

t.test('a login that took more than a quarter of an hour is over', async (t) => {
  const kit = await oidcKitFor(t)
  const browser = kit.browser()
  const query = kit.provider.authorize(await leaveFor(kit, browser))
  kit.clock.ms += 15 * 60_000 + 1
  checkRefused(t, await comeBack(kit, browser, query), { status: 410, code: 'login_expired' })
})

t.test('refuses answers that name another issuer, or none (RFC 9207)', async (t) => {
  for (const iss of ['https://evil.example', undefined]) {
    const kit = await oidcKitFor(t)
    const answer = await logInAtProvider(kit, kit.browser(), { iss })
    checkRefused(t, answer, { status: 502, code: 'login_provider_failed' })
    t.same(kit.provider.exchanges, [], 'the code goes nowhere')
  }
})

const now = Math.floor(Date.now() / 1_000)
const WRONG_CLAIMS: Record<string, Record<string, unknown>> = {
  'the nonce of another login': { nonce: 'another' },
  'no nonce': { nonce: undefined },
  'another issuer': { iss: 'https://evil.example' },
  'another audience': { aud: 'another' },
  'several audiences, for another party': { aud: ['landfall', 'another'], azp: 'another' },
  'an end in the past': { exp: now - 600 },
  'no end': { exp: undefined },
  'no subject': { sub: undefined },
  'a beginning in the future': { nbf: now + 600 },
}

t.test('refuses ID tokens that are not for this login', async (t) => {
  for (const [name, claims] of Object.entries(WRONG_CLAIMS)) {
    const kit = await oidcKitFor(t, { claims })
    const browser = kit.browser()
    const answer = await logInAtProvider(kit, browser)
    t.equal(answer.status, 502, name)
    t.match(answer.body, 'login_provider_failed')
    t.equal(browser.cookie(LOGIN_HOST, SESSION), undefined)
    t.match(
      kit.oidcLines.find(({ code }) => code === 'login_provider_failed'),
      { level: 'warn', reason: /^OAUTH_/ },
    )
  }
})

t.test('refuses ID tokens that the provider did not sign', async (t) => {
  const { privateKey } = await generateKeyPair('ES256')
  const sign = (claims: object) => new SignJWT(claims as never)
  const tokens: Record<string, ProviderScript['idToken']> = {
    'by another key': (claims) =>
      sign(claims).setProtectedHeader({ alg: 'ES256', kid: 'one' }).sign(privateKey),
    'with the client secret': (claims) =>
      sign(claims)
        .setProtectedHeader({ alg: 'HS256' })
        .sign(Buffer.from('secret'.repeat(8))),
    'by nobody': async (claims) => new UnsecuredJWT(claims as never).encode(),
    'no token': async () => 'a.b.c',
    'another text': async () => EVIL,
  }
  for (const [name, idToken] of Object.entries(tokens)) {
    const kit = await oidcKitFor(t, idToken && { idToken })
    const answer = await logInAtProvider(kit, kit.browser())
    t.equal(answer.status, 502, name)
    checkRefused(t, answer, { status: 502, code: 'login_provider_failed' })
  }
})

t.test('the token endpoint’s refusals become clear pages', async (t) => {
  const cases: [string, ProviderScript['token'], number, string][] = [
    [
      'a used code',
      () => ({ status: 400, body: { error: 'invalid_grant', error_description: EVIL } }),
      410,
      'login_expired',
    ],
    [
      'a wrong secret',
      () => ({ status: 401, body: { error: 'invalid_client' } }),
      502,
      'login_provider_failed',
    ],
    ['HTML', () => ({ status: 200, body: EVIL }), 502, 'login_provider_failed'],
    ['a fault', () => ({ status: 503, body: EVIL }), 502, 'login_provider_down'],
    [
      'no ID token',
      () => ({ status: 200, body: { access_token: 'a', token_type: 'Bearer' } }),
      502,
      'login_provider_failed',
    ],
    ['silence', () => undefined, 502, 'login_provider_down'],
    [
      'too much',
      () => ({ status: 200, body: { access_token: 'x'.repeat(2_000_000) } }),
      502,
      'login_provider_',
    ],
  ]
  for (const [name, token, status, code] of cases) {
    const kit = await oidcKitFor(t, token && { token }, { timeoutS: 0.5 })
    const answer = await logInAtProvider(kit, kit.browser())
    t.equal(answer.status, status, name)
    checkRefused(t, answer, { status, code })
  }
})

t.test('userinfo of somebody else, or none where it is wanted, lets nobody in', async (t) => {
  const claims = { email: undefined, email_verified: undefined }
  const cases: [string, ProviderScript['userinfo'], string][] = [
    [
      'somebody else',
      () => ({ status: 200, body: { sub: 'eve', email: 'ada@example.test', email_verified: true } }),
      'login_provider_failed',
    ],
    ['a refusal', () => ({ status: 401, body: {} }), 'login_provider_failed'],
    ['a fault', () => ({ status: 500, body: EVIL }), 'login_provider_down'],
    ['silence', () => undefined, 'login_provider_down'],
  ]
  for (const [name, userinfo, code] of cases) {
    const kit = await oidcKitFor(t, { claims, ...(userinfo && { userinfo }) }, { timeoutS: 0.5 })
    const answer = await logInAtProvider(kit, kit.browser())
    t.equal(answer.status, 502, name)
    t.match(answer.body, code, name)
  }
})

async function begin(kit: OidcKit): Promise<Answer> {
  return kit.browser().visit('https://web.example.test/.landfall/login?to=/')
}

t.test('says that the provider is away, and finds it when it is back', async (t) => {
  const kit = await oidcKitFor(t, {}, { timeoutS: 0.5 })
  kit.provider.script.discovery = () => ({ status: 503, body: EVIL })
  checkRefused(t, await begin(kit), { status: 502, code: 'login_provider_down' })
  const asked = kit.provider.requests.length
  checkRefused(t, await begin(kit), { status: 502, code: 'login_provider_down' })
  t.equal(kit.provider.requests.length, asked, 'not every visitor asks')
  delete kit.provider.script.discovery
  await until(
    () =>
      leaveFor(kit, kit.browser()).then(
        () => true,
        () => false,
      ),
    'the login leads to the provider again',
  )
  t.equal((await logInAtProvider(kit, kit.browser())).url.hostname, 'web.example.test')
})

t.test('does not believe a discovery document of another issuer, or without TLS elsewhere', async (t) => {
  const other = await oidcKitFor(t, { metadata: { issuer: 'https://evil.example' } })
  checkRefused(t, await begin(other), { status: 502, code: 'login_provider_failed' })
  const plain = await oidcKitFor(t, { metadata: { token_endpoint: 'http://192.0.2.1/token' } })
  const answer = await logInAtProvider(plain, plain.browser())
  checkRefused(t, answer, { status: 502, code: 'login_provider_failed' })
})

t.test('does not read an answer without end', async (t) => {
  const kit = await oidcKitFor(t, { metadata: { padding: 'x'.repeat(1_100_000) } })
  checkRefused(t, await begin(kit), { status: 502, code: 'login_provider_' })
  const most = await oidcKitFor(t, { metadata: { padding: 'x'.repeat(900_000) } })
  t.ok(await leaveFor(most, most.browser()))
})

t.test('does not wait for ever', async (t) => {
  const kit = await oidcKitFor(t, { discovery: () => undefined }, { timeoutS: 0.3 })
  const began = performance.now()
  checkRefused(t, await begin(kit), { status: 502, code: 'login_provider_down' })
  t.ok(performance.now() - began < 3_000)
})

t.test('a callback is a GET without a body', async (t) => {
  const kit = await oidcKitFor(t)
  const answer = await kit.browser().ask(CALLBACK, { form: { code: 'x' }, from: new URL(LOGIN) })
  t.equal(answer.status, 405)
})

t.test('the provider is not asked as often as a stranger likes', async (t) => {
  const kit = await oidcKitFor(t)
  const browser = kit.browser()
  const url = await leaveFor(kit, browser)
  const cookies = [...(browser.jar.get(LOGIN_HOST) ?? [])]
  const query = kit.provider.authorize(url, { code: 'wrong' })
  let answer = await comeBack(kit, browser, query)
  for (let count = 0; count < 125; count += 1) {
    browser.jar.set(LOGIN_HOST, new Map(cookies))
    answer = await browser.ask(`${CALLBACK}?${query}`)
  }
  checkRefused(t, answer, { status: 429, code: 'login_too_often' })
  t.ok(kit.provider.exchanges.length <= 121, String(kit.provider.exchanges.length))
})
