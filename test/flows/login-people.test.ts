/** The login as `npm start` offers it: a page with people to choose from, of whom the first owns everything. */

import t from 'tap'
import { browserFor } from '../helpers/browser.ts'
import { landfallFor } from '../helpers/landfall.ts'
import { fieldsSeenBy, makePrivate, profileFor, share, urlOf } from '../helpers/shared-vm.ts'

t.test('the first of the people comes in everywhere, the others where they are let in', async (t) => {
  const landfall = await landfallFor(t)
  await makePrivate(landfall)
  const browser = await browserFor(t, landfall)
  const hello = urlOf(landfall, 'hello')

  const ada = await profileFor(browser)
  await ada.page.goto(`${hello}/notes?page=2`)
  t.match(await ada.page.textContent('main'), 'development server')
  await ada.page.getByRole('button', { name: 'ada@example.test' }).click()
  await ada.page.waitForURL(`${hello}/**`)
  t.equal(ada.page.url(), `${hello}/notes?page=2`)
  t.equal((await fieldsSeenBy(ada.page))['x-landfall-email'], 'ada@example.test')

  const bob = await profileFor(browser)
  await bob.page.goto(hello)
  await bob.page.getByRole('button', { name: 'bob@example.test' }).click()
  await bob.page.locator('main', { hasText: 'auth_forbidden' }).waitFor()
  t.match(await bob.page.textContent('main'), 'not shared with you')
  await share(landfall, { kind: 'email', value: 'bob@example.test' })
  await bob.page.goto(`${hello}/now`)
  t.equal(bob.page.url(), `${hello}/now`, 'the grant counts from the next request on, without another login')
  t.equal((await fieldsSeenBy(bob.page))['x-landfall-email'], 'bob@example.test')

  await bob.page.goto(`${hello}/.landfall/login?switch=1&to=/there`)
  await bob.page.getByRole('link', { name: 'Use another account' }).click()
  await bob.page.getByRole('button', { name: 'ada@example.test' }).click()
  await bob.page.waitForURL(`${hello}/there`)
  t.equal((await fieldsSeenBy(bob.page))['x-landfall-email'], 'ada@example.test')
})

t.test('a page of another site neither logs somebody out nor asks the VM in their name', async (t) => {
  const landfall = await landfallFor(t)
  await makePrivate(landfall)
  const { page } = await profileFor(await browserFor(t, landfall))
  const hello = urlOf(landfall, 'hello')
  await page.goto(hello)
  await page.getByRole('button', { name: 'ada@example.test' }).click()
  await page.waitForURL(`${hello}/`)
  await page.goto(`${urlOf(landfall, 'auth')}/`)
  const asked = `(path, method) => fetch('${hello}' + path, { method, mode: 'no-cors', credentials: 'include' }).then(() => 'asked', () => 'refused')`
  await page.goto(`${urlOf(landfall, 'admin')}/`)
  await page.evaluate(`(${asked})('/.landfall/logout', 'POST')`)
  await page.goto(`${hello}/still`)
  t.equal((await fieldsSeenBy(page))['x-landfall-email'], 'ada@example.test', 'still logged in')
})
