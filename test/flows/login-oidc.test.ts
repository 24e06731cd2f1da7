/** Chromium through the whole login at a real OpenID Connect provider, on to a second VM, and out again. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLocalJWKSet, jwtVerify } from 'jose'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { browserFor } from '../helpers/browser.ts'
import { folderFor } from '../helpers/folder.ts'
import { findFreePort } from '../helpers/free-port.ts'
import { type Landfall, landfallFor } from '../helpers/landfall.ts'
import { CLIENT_ID, CLIENT_SECRET, oidcProviderFor, type ProviderOptions } from '../helpers/oidc-provider.ts'
import {
  fieldsSeenBy,
  makePrivate,
  ownCookies,
  privateVmFor,
  profileFor,
  share,
  urlOf,
} from '../helpers/shared-vm.ts'

const ADA = {
  id: 'user-4711',
  claims: { email: 'Ada@Example.test', email_verified: true, name: 'Ada Lovelace' },
}
const EVE = { id: 'user-1', claims: { email: 'ada@example.test', email_verified: false } }

async function landfallWithProvider(t: Test, options: Partial<ProviderOptions> = {}): Promise<Landfall> {
  const httpsPort = await findFreePort()
  const provider = await oidcProviderFor(t, {
    redirectUri: `https://auth.localhost:${httpsPort}/oidc/callback`,
    accounts: [ADA, EVE],
    ...options,
  })
  const secretFile = join(folderFor(t), 'secret')
  writeFileSync(secretFile, `${CLIENT_SECRET}\n`)
  const landfall = await landfallFor(t, {
    env: {
      LANDFALL_HTTPS_PORT: String(httpsPort),
      LANDFALL_OIDC_ISSUER: provider.issuer,
      LANDFALL_OIDC_CLIENT_ID: CLIENT_ID,
      LANDFALL_OIDC_CLIENT_SECRET_FILE: secretFile,
    },
  })
  await makePrivate(landfall)
  return landfall
}

async function logIn(page: Page, { id }: { id: string }): Promise<void> {
  await page.getByRole('textbox').fill(id)
  await page.getByRole('button', { name: 'Yes' }).click()
}

t.test('one login opens every VM that is shared, and ends everywhere', async (t) => {
  const landfall = await landfallWithProvider(t)
  await privateVmFor(landfall, 'second')
  for (const vm of ['hello', 'second'])
    await share(landfall, { vm, kind: 'email', value: 'ada@example.test' })
  const { context, page } = await profileFor(await browserFor(t, landfall))
  const [hello, second] = [urlOf(landfall, 'hello'), urlOf(landfall, 'second')]

  await page.goto(`${hello}/notes/1?q=a%20b&x=%2F`)
  t.match(page.url(), /^http:\/\/127\.0\.0\.1:\d+\/interaction\//, 'the provider asks')
  await logIn(page, ADA)
  await page.waitForURL(`${hello}/**`)
  t.equal(page.url(), `${hello}/notes/1?q=a%20b&x=%2F`, 'back at the very path')
  t.match(await page.textContent('body'), '"target": "/notes/1?q=a%20b&x=%2F"')

  const cookies = await ownCookies(context)
  const own = cookies.filter(({ domain }) => domain === 'hello.localhost')
  t.match(own, [{ name: '__Host-landfall', httpOnly: true, secure: true, sameSite: 'Lax', path: '/' }])
  t.same(
    [...new Set(cookies.map(({ domain }) => domain))].sort(),
    ['auth.localhost', 'hello.localhost'],
    'every cookie is of one host alone',
  )

  const fields = await fieldsSeenBy(page)
  t.match(
    fields,
    { 'x-landfall-user': ADA.id, 'x-landfall-email': 'ada@example.test' },
    'the VM knows who it is',
  )
  t.notOk(
    Object.keys(fields).some((name) => name.toLowerCase() === 'cookie'),
    'and gets no cookie of ours',
  )
  await checkAssertion(t, { page, assertion: fields['x-landfall-assertion'] ?? '', landfall })

  await page.evaluate(`document.cookie = 'app=1; Path=/; Secure'`)
  t.equal((await fieldsSeenBy(page)).cookie, 'app=1', 'its own cookies it gets')

  await page.goto(`${second}/there`)
  t.equal(page.url(), `${second}/there`, 'no second login')
  t.equal((await fieldsSeenBy(page))['x-landfall-user'], ADA.id)

  await page.goto(hello)
  const loggedOut = await page.evaluate(
    `fetch('/.landfall/logout', { method: 'POST' }).then(({ status }) => status)`,
  )
  t.equal(loggedOut, 204)
  t.match(await whoIs(page), { host: 'hello.localhost' })
  t.notOk('user' in (await whoIs(page)), 'out of this host')
  await page.goto(second)
  t.equal((await whoIs(page)).user, ADA.id, 'but not of the other')
  await page.goto(`${hello}/again`)
  t.equal(page.url(), `${hello}/again`, 'the session of the login host is still there')

  await page.goto(urlOf(landfall, 'auth'))
  t.match(await page.textContent('main'), 'Ada Lovelace')
  await page.getByRole('button', { name: 'Log out everywhere' }).click()
  await page.getByRole('heading', { name: 'Logged out everywhere' }).waitFor()
  for (const vm of [hello, second]) {
    await page.goto(`${vm}/.landfall/whoami`)
    t.notOk((await page.textContent('body'))?.includes(ADA.id), 'out of every host')
  }
  await page.goto(hello)
  t.match(page.url(), /^http:\/\/127\.0\.0\.1:\d+\/interaction\//, 'and the provider asks again')
})

t.test('whoever says no, or is not let in, is told so', async (t) => {
  const landfall = await landfallWithProvider(t, { consent: 'form', hasClaimsInIdToken: true })
  await share(landfall, { kind: 'email', value: 'ada@example.test' })
  const browser = await browserFor(t, landfall)
  const hello = urlOf(landfall, 'hello')
  const { page } = await profileFor(browser)
  await page.goto(hello)
  await page.getByRole('button', { name: 'No' }).click()
  await page.locator('body', { hasText: 'login_provider_refused' }).waitFor()
  t.match(page.url(), /^https:\/\/auth\.localhost:\d+\/oidc\/callback\?/)

  await page.goto(hello)
  await logIn(page, ADA)
  await page.getByRole('heading', { name: 'consent' }).waitFor()
  await page.getByRole('button', { name: 'Yes' }).click()
  await page.waitForURL(`${hello}/**`)
  t.equal((await fieldsSeenBy(page))['x-landfall-email'], 'ada@example.test')

  const other = await profileFor(browser)
  await other.page.goto(hello)
  await logIn(other.page, EVE)
  await other.page.getByRole('button', { name: 'Yes' }).click()
  await other.page.locator('body', { hasText: 'auth_forbidden' }).waitFor()
  t.match(
    await other.page.textContent('main'),
    'not shared with you',
    'an e-mail that is not verified opens nothing',
  )
  t.notMatch(landfall.stderr(), CLIENT_SECRET)
})

async function whoIs(page: Page): Promise<Record<string, unknown>> {
  return (await page.evaluate(`fetch('/.landfall/whoami').then((answer) => answer.json())`)) as Record<
    string,
    unknown
  >
}

/** As an app does it: with the keys that its own host publishes. */
async function checkAssertion(
  t: Test,
  { page, assertion, landfall }: { page: Page; assertion: string; landfall: Landfall },
): Promise<void> {
  const keys = await page.evaluate(`fetch('/.well-known/landfall/jwks.json').then((answer) => answer.json())`)
  const { payload } = await jwtVerify(assertion, createLocalJWKSet(keys as { keys: [] }), {
    issuer: urlOf(landfall, 'auth').replace(/:\d+$/, ''),
    audience: 'hello.localhost',
    maxTokenAge: 300,
  })
  t.match(payload, { sub: ADA.id, email: 'ada@example.test', kind: 'user' })
}
