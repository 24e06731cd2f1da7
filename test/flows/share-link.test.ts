/** Chromium opens share links: with a login and without, single use, closed, and closed for those who are in. */

import type { Browser, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { browserFor } from '../helpers/browser.ts'
import { type Landfall, landfallFor } from '../helpers/landfall.ts'
import { fieldsSeenBy, makePrivate, profileFor, urlOf } from '../helpers/shared-vm.ts'

const LINKS = '/v1/vms/hello/links'
const BOB = 'bob@example.test'
const CAROL = 'carol@example.test'

interface Shared {
  readonly landfall: Landfall
  readonly browser: Browser
  readonly hello: string
}

async function sharedFor(t: Test): Promise<Shared> {
  const people = [BOB, CAROL].join()
  const landfall = await landfallFor(t, { env: { LANDFALL_PEOPLE: `ada@example.test,${people}` } })
  await makePrivate(landfall)
  return { landfall, browser: await browserFor(t, landfall), hello: urlOf(landfall, 'hello') }
}

async function makeLink({ landfall }: Shared, terms: object = {}): Promise<{ id: string; url: string }> {
  const expiresAt = new Date(Date.now() + 3_600_000).toISOString()
  const { status, json } = await landfall.admin('POST', LINKS, { expiresAt, ...terms })
  if (status !== 201) throw new Error(`the link: ${status} ${JSON.stringify(json)}`)
  return { id: String(json.id), url: String(json.url) }
}

async function pageOf({ browser }: Shared): Promise<Page> {
  return (await profileFor(browser)).page
}

async function open(page: Page, url: string): Promise<void> {
  await page.goto(url)
  await page.getByRole('button', { name: 'Open it' }).click()
}

async function logInAs(page: Page, email: string): Promise<void> {
  await page.getByRole('button', { name: email }).click()
  await page.getByRole('button', { name: 'Continue' }).click()
}

async function isIn(page: Page, { hello }: Shared): Promise<boolean> {
  const response = await page.goto(`${hello}/?look`)
  return page.url() === `${hello}/?look` && response?.status() === 200
}

t.test('a link without login lets in whoever opens it, until it is closed with access=end', async (t) => {
  const shared = await sharedFor(t)
  const { hello, landfall } = shared
  const { id, url } = await makeLink(shared, { needsLogin: false })
  const [page, other] = [await pageOf(shared), await pageOf(shared)]
  await open(page, url)
  await page.waitForURL(`${hello}/`)
  t.match(await page.textContent('main'), 'GET / HTTP/1.1')
  const fields = await fieldsSeenBy(page)
  t.equal(fields['x-landfall-user'], undefined, 'the VM learns of no user')
  t.ok(fields['x-landfall-assertion'])
  await open(other, url)
  await other.waitForURL(`${hello}/`)

  const closed = await closeCodeOf(page, async () => {
    t.equal((await landfall.admin('DELETE', `${LINKS}/${id}?access=end`)).status, 204)
  })
  t.equal(closed, 4401, 'what is open ends')
  for (const guest of [page, other]) t.equal(await isIn(guest, shared), false)
  await page.goto(url)
  await page.locator('main', { hasText: 'login_link_gone' }).waitFor()
})

t.test('a link with login asks who comes, and who came stays when it is closed', async (t) => {
  const shared = await sharedFor(t)
  const { hello, landfall } = shared
  const { id, url } = await makeLink(shared, { needsLogin: true })
  const page = await pageOf(shared)
  await page.goto(url)
  await logInAs(page, BOB)
  await page.waitForURL(`${hello}/`)
  t.equal((await fieldsSeenBy(page))['x-landfall-email'], BOB)
  t.equal((await landfall.admin('DELETE', `${LINKS}/${id}`)).status, 204)
  t.equal(await isIn(page, shared), true, 'bob has a grant of his own')
  const late = await pageOf(shared)
  await late.goto(url)
  await late.locator('main', { hasText: 'login_link_gone' }).waitFor()
})

t.test('a link with login that is closed with access=end takes back what it gave', async (t) => {
  const shared = await sharedFor(t)
  const { hello, landfall } = shared
  const { id, url } = await makeLink(shared)
  const page = await pageOf(shared)
  await page.goto(url)
  await logInAs(page, BOB)
  await page.waitForURL(`${hello}/`)
  const closed = await closeCodeOf(page, async () => {
    await landfall.admin('DELETE', `${LINKS}/${id}?access=end`)
  })
  t.equal(closed, 4401)
  t.equal(await isIn(page, shared), false)
})

t.test('a link for one use lets in one', async (t) => {
  const shared = await sharedFor(t)
  for (const needsLogin of [false, true]) {
    const { url } = await makeLink(shared, { needsLogin, isSingleUse: true })
    const [first, second] = [await pageOf(shared), await pageOf(shared)]
    await (needsLogin ? first.goto(url).then(() => logInAs(first, BOB)) : open(first, url))
    await first.waitForURL(`${shared.hello}/`)
    await second.goto(url)
    await second.locator('main', { hasText: 'login_link_used' }).waitFor()
    t.equal(await isIn(first, shared), true)
    t.equal(await isIn(second, shared), false)
  }
})

t.test('a link that somebody altered, or that is for another host, opens nothing', async (t) => {
  const shared = await sharedFor(t)
  const { url } = await makeLink(shared, { needsLogin: false })
  const page = await pageOf(shared)
  for (const wrong of [`${url}x`, url.replace('.eyJ', '.eyK'), url.replace('hello.', '8000--hello.')]) {
    await page.goto(wrong)
    await page.locator('main', { hasText: 'login_link_gone' }).waitFor()
  }
  t.equal(await isIn(page, shared), false)
})

/** Of a WebSocket to the page's host that is open when `act` is called. */
async function closeCodeOf(page: Page, act: () => Promise<void>): Promise<unknown> {
  await page.evaluate(`new Promise((resolve, reject) => {
    const socket = new WebSocket('wss://' + location.host + '/')
    window.ended = new Promise((done) => { socket.onclose = ({ code }) => done(code) })
    socket.onopen = () => resolve()
    window.ended.then((code) => reject(new Error('closed with ' + code)))
  })`)
  await act()
  return page.evaluate('window.ended')
}
