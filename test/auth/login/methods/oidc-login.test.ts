/** The login at a provider: the whole way, what is sent, and what the provider's claims make of a person. */

import { createHash } from 'node:crypto'
import t from 'tap'
import type { TestBrowser } from '../browser.ts'
import { ADA, grantTo, HOST, LOGIN, LOGIN_HOST, namesOf, routeOf, WEB } from '../login-kit.ts'
import { CALLBACK, comeBack, leaveFor, logInAtProvider, type OidcKit, oidcKitFor } from './oidc-kit.ts'

const COOKIE = '__Host-landfall'

t.test('leads to the provider with all that protects the way back, and back to the very path', async (t) => {
  const kit = await oidcKitFor(t)
  const browser = kit.browser()
  const url = await leaveFor(kit, browser, '/notes?page=2')
  const asked = Object.fromEntries(new URL(url).searchParams)
  t.match(asked, {
    client_id: 'landfall',
    response_type: 'code',
    redirect_uri: CALLBACK,
    scope: 'openid email profile',
    code_challenge_method: 'S256',
    code_challenge: /^[\w-]{43}$/,
    state: /^[\w-]{43}$/,
    nonce: /^[\w-]{43}$/,
  })
  const answer = await comeBack(kit, browser, kit.provider.authorize(url))
  t.equal(answer.url.href, `${WEB}/notes?page=2`)
  const [form] = kit.provider.exchanges
  const challenge = createHash('sha256')
    .update(form?.get('code_verifier') ?? '')
    .digest('base64url')
  t.equal(challenge, asked.code_challenge)
  t.equal(form?.get('redirect_uri'), CALLBACK)
  const claims = await kit.keys.verify(browser.cookie(HOST, COOKIE) ?? '', { kind: 'cookie', audience: HOST })
  t.match(claims, { sub: 'ada', email: ADA })
})

t.test('asks the provider where it is once, and for a second person not again', async (t) => {
  const kit = await oidcKitFor(t)
  t.same(kit.provider.requests, [], 'not before somebody logs in')
  await Promise.all([leaveFor(kit, kit.browser()), leaveFor(kit, kit.browser())])
  await logInAtProvider(kit, kit.browser())
  t.equal(kit.provider.requests.filter((line) => line.includes('openid-configuration')).length, 1)
})

t.test('serves several tabs that log in at once', async (t) => {
  const kit = await oidcKitFor(t)
  const browser = kit.browser()
  const urls = [await leaveFor(kit, browser, '/first'), await leaveFor(kit, browser, '/second')]
  const ends = []
  for (const url of urls) ends.push((await comeBack(kit, browser, kit.provider.authorize(url))).url.pathname)
  t.same(ends, ['/first', '/second'])
})

t.test('serves tabs that all came back before any of them had an answer', async (t) => {
  const kit = await oidcKitFor(t)
  const browser = kit.browser()
  const tabs = ['/a', '/b', '/c', '/d', '/e']
  const urls = await Promise.all(tabs.map((to) => leaveFor(kit, browser, to)))
  const ends = await Promise.all(urls.map((url) => comeBack(kit, browser, kit.provider.authorize(url))))
  t.same(
    ends.map(({ url }) => url.pathname),
    tabs,
  )
})

t.test('the cookies on the way are sealed, not too long for a browser, and not too many', async (t) => {
  const kit = await oidcKitFor(t)
  const browser = kit.browser()
  for (let count = 0; count < 12; count += 1) {
    const url = await leaveFor(kit, browser, `/${count}`)
    const state = new URL(url).searchParams.get('state') ?? ''
    const cookie = browser.cookie(LOGIN_HOST, `__Host-landfall-oidc-${state.slice(0, 8)}`) ?? ''
    t.ok(cookie.length > 0 && cookie.length < 3_800)
    t.notOk(cookie.includes(state))
  }
  t.equal(namesOf(browser, LOGIN_HOST).length, 8)
})

t.test('whoever logged out has to prove to the provider who they are', async (t) => {
  const kit = await oidcKitFor(t)
  const browser = kit.browser()
  await logInAtProvider(kit, browser)
  await browser.submit(await browser.visit(`${LOGIN}/`))
  browser.jar.delete(HOST)
  const again = await leaveFor(kit, browser)
  t.equal(new URL(again).searchParams.get('prompt'), 'login')
  await comeBack(kit, browser, kit.provider.authorize(again))
  await kit.logins.endSession(await sessionIdOf(kit, browser))
  browser.jar.delete(HOST)
  t.equal(new URL(await leaveFor(kit, browser)).searchParams.get('prompt'), null, 'once')
})

t.test('proves itself to the provider in the way that it names', async (t) => {
  for (const [methods, expected] of [
    [undefined, 'basic'],
    [['client_secret_post', 'client_secret_basic'], 'basic'],
    [['client_secret_post', 'private_key_jwt'], 'post'],
  ] as const) {
    const used: string[] = []
    const kit = await oidcKitFor(t, {
      metadata: methods === undefined ? {} : { token_endpoint_auth_methods_supported: methods },
      token: (form, { authorization }) => {
        if (authorization === `Basic ${btoa('landfall:secret')}`) used.push('basic')
        if (form.get('client_secret') === 'secret') used.push('post')
        return { status: 400, body: { error: 'invalid_client' } }
      },
    })
    await logInAtProvider(kit, kit.browser())
    t.same(used, [expected])
  }
})

t.test('asks for the e-mail where the ID token has none', async (t) => {
  const kit = await oidcKitFor(t, {
    claims: { email: undefined, email_verified: undefined },
    userinfo: () => ({
      status: 200,
      body: { sub: 'ada', email: 'ADA@Example.test', email_verified: true, name: 'Ada' },
    }),
  })
  const browser = kit.browser()
  t.equal((await logInAtProvider(kit, browser)).url.host, HOST)
  const claims = await kit.keys.verify(browser.cookie(HOST, COOKIE) ?? '', { kind: 'cookie', audience: HOST })
  t.match(claims, { sub: 'ada', email: ADA })
})

t.test('an e-mail counts only when the provider has verified it', async (t) => {
  for (const [name, claims, userinfo] of [
    ['false', { email_verified: false }, undefined],
    ['a text', { email_verified: 'true' }, undefined],
    ['one', { email_verified: 1 }, undefined],
    ['nothing', { email_verified: undefined }, { sub: 'ada' }],
    ['from elsewhere', { email: undefined, email_verified: true }, { sub: 'ada', email: ADA }],
    ['another address', { email_verified: undefined }, { sub: 'ada', email_verified: true }],
    ['no address', { email: 'ada' }, undefined],
    ['no text', { email: [ADA] }, undefined],
  ] as const) {
    const kit = await oidcKitFor(t, {
      claims,
      ...(userinfo && { userinfo: () => ({ status: 200, body: userinfo }) }),
    })
    const browser = kit.browser()
    await logInAtProvider(kit, browser)
    const cookie = browser.cookie(HOST, COOKIE) ?? ''
    const { sub, email } = await kit.keys.verify(cookie, { kind: 'cookie', audience: HOST })
    t.equal(sub, 'ada', name)
    t.equal(email, undefined, name)
  }
})

t.test('takes the claim that is configured for the user’s id', async (t) => {
  const id = 'b5a0c0de-0000-4000-8000-000000000001'
  for (const [userClaim, claims, expected] of [
    ['oid', { oid: id }, id],
    ['email', {}, ADA],
    ['preferred_username', { preferred_username: 'Ada' }, 'Ada'],
  ] as const) {
    const kit = await oidcKitFor(t, { claims }, { userClaim })
    kit.routes.set(HOST, routeOf({ grants: [grantTo('user', expected)] }))
    const browser = kit.browser()
    t.equal((await logInAtProvider(kit, browser)).url.host, HOST, userClaim)
    const cookie = browser.cookie(HOST, COOKIE) ?? ''
    t.equal((await kit.keys.verify(cookie, { kind: 'cookie', audience: HOST })).sub, expected)
  }
})

t.test('refuses a person without an id that can be one', async (t) => {
  for (const [name, userClaim, claims] of [
    ['absent', 'oid', {}],
    ['a number', 'oid', { oid: 5 }],
    ['empty', 'oid', { oid: '' }],
    ['with a space', 'oid', { oid: 'ada lovelace' }],
    ['not ASCII', 'oid', { oid: 'adä' }],
    ['with a line break', 'oid', { oid: 'ada\r\nx-evil: 1' }],
    ['too long', 'oid', { oid: 'a'.repeat(255) }],
    ['the subject of a link', 'oid', { oid: 'link:abcdefghijkl' }],
    ['the subject of a token', 'oid', { oid: 'Token:abcdefghijkl' }],
    ['an address that nobody verified', 'email', { email_verified: false }],
  ] as const) {
    const kit = await oidcKitFor(t, { claims }, { userClaim })
    const browser = kit.browser()
    const answer = await logInAtProvider(kit, browser)
    t.equal(answer.status, 403, name)
    t.match(answer.body, 'login_person_unfit')
    t.match(
      kit.oidcLines.find(({ code }) => code === 'login_person_unfit'),
      { reason: 'user-claim', claim: userClaim },
    )
    t.equal(browser.cookie(LOGIN_HOST, '__Host-landfall-session'), undefined)
  }
})

t.test('keeps of a name what prints, and not too much of it', async (t) => {
  const kit = await oidcKitFor(t, { claims: { name: `  Ada\u0000\n<b>\u202e${'x'.repeat(500)}` } })
  const browser = kit.browser()
  t.equal((await logInAtProvider(kit, browser)).url.host, HOST)
  const session = browser.cookie(LOGIN_HOST, '__Host-landfall-session') ?? ''
  const { name } = await kit.keys.verify(session, { kind: 'session', audience: LOGIN_HOST })
  t.match(name, /^Ada <b> x{90,}$/)
  t.equal(String(name).length, 100)
})

t.test('somebody who wants another account is asked by the provider again', async (t) => {
  for (const [metadata, prompt] of [
    [{}, 'login'],
    [{ prompt_values_supported: ['none', 'login', 'select_account'] }, 'select_account'],
  ] as const) {
    const kit = await oidcKitFor(t, { metadata })
    const browser = kit.browser()
    t.equal(new URL(await leaveFor(kit, browser)).searchParams.get('prompt'), null)
    const { headers } = await browser.ask(`${LOGIN}/start?fresh=1`)
    t.equal(new URL(String(headers.location)).searchParams.get('prompt'), prompt)
  }
})

async function sessionIdOf({ keys }: OidcKit, browser: TestBrowser): Promise<string> {
  const text = browser.cookie(LOGIN_HOST, '__Host-landfall-session') ?? ''
  return (await keys.verify(text, { kind: 'session', audience: LOGIN_HOST })).jti
}
