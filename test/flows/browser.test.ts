/** A real Chromium that trusts the local CA: the page over HTTP/2, its WebSocket, its events, and the pages of refusals. */

import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import t from 'tap'
import { browserFor } from '../helpers/browser.ts'
import { folderFor } from '../helpers/folder.ts'
import { landfallFor } from '../helpers/landfall.ts'

/** Run in the page; gives the length of the echo. */
const SEND_HALF_A_MEGABYTE = `new Promise((resolve, reject) => {
  const socket = new WebSocket('wss://' + location.host + '/')
  socket.onopen = () => socket.send('x'.repeat(500000))
  socket.onmessage = ({ data }) => resolve(data.length)
  socket.onerror = () => reject(new Error('the WebSocket failed'))
})`

t.test('Chromium loads the page of the VM hello over HTTP/2, with a WebSocket and events', async (t) => {
  const folder = folderFor(t)
  const landfall = await landfallFor(t)
  const browser = await browserFor(t, landfall)
  const page = await browser.newPage({ viewport: { width: 1_000, height: 900 } })
  const complaints = complaintsOf(page)
  const response = await page.goto(`https://hello.localhost:${landfall.httpsPort}/`)
  t.equal(response?.status(), 200)
  t.equal(await protocolOf(page), 'h2')
  t.match(await response?.securityDetails(), { protocol: 'TLS 1.3', issuer: /Landfall local CA/ })
  t.match(await page.textContent('main'), /GET \/ HTTP\/1\.1/)

  await page.locator('#ticks', { hasText: /[1-9]/ }).waitFor()
  t.pass('events arrive')
  await page.fill('#text', 'from a real browser')
  await page.click('#say button')
  await page.locator('#said', { hasText: 'from a real browser' }).waitFor()
  t.pass('the WebSocket echoes')
  t.same(complaints, [], 'the console is empty')

  const picture = join(folder, 'hello.png')
  await page.screenshot({ path: picture, fullPage: true })
  t.ok(statSync(picture).size > 10_000)
})

t.test('a WebSocket of Chromium goes over the HTTP/2 session (RFC 8441)', async (t) => {
  const landfall = await landfallFor(t)
  const browser = await browserFor(t, landfall)
  const page = await browser.newPage()
  await page.goto(`https://hello.localhost:${landfall.httpsPort}/`)
  const echoed = await page.evaluate(SEND_HALF_A_MEGABYTE)
  t.equal(echoed, 500_000)
  await browser.close()
  landfall.signal('SIGTERM')
  await landfall.exited
  const lines = landfall
    .stderr()
    .split('\n')
    .filter((line) => line.includes('"logger":"access"'))
  const tunnels = lines.map((line) => JSON.parse(line)).filter(({ request }) => request.method === 'CONNECT')
  t.ok(tunnels.length > 0, 'extended CONNECT in the access log')
  t.match(tunnels[0], { status: 200, request: { proto: 'HTTP/2.0' } })
})

t.test(
  'Chromium shows the login for a private route, and a page that says what to do for a broken one',
  async (t) => {
    const folder = folderFor(t)
    const landfall = await landfallFor(t)
    const put = (hostname: string, visibility: string) =>
      landfall.admin('PUT', `/v1/routes/${hostname}`, { upstream: '127.0.0.1:9', visibility })
    t.equal((await put('private.localhost', 'private')).status, 201)
    t.equal((await put('broken.localhost', 'public')).status, 201)
    const browser = await browserFor(t, landfall)
    const page = await browser.newPage({ viewport: { width: 1_000, height: 700 } })
    await page.goto(`https://private.localhost:${landfall.httpsPort}/`)
    t.equal(new URL(page.url()).hostname, 'auth.localhost')
    await page.getByRole('button', { name: 'ada@example.test' }).waitFor()
    for (const [hostname, status, code] of [['broken.localhost', 502, 'connect_refused']] as const) {
      const response = await page.goto(`https://${hostname}:${landfall.httpsPort}/`)
      t.equal(response?.status(), status)
      t.match(await page.textContent('body'), code)
      t.match(await page.textContent('body'), response?.headers()['x-request-id'] ?? 'a request id')
      await page.screenshot({ path: join(folder, `${code}.png`) })
    }
  },
)

async function protocolOf(page: Page): Promise<unknown> {
  return page.evaluate(`performance.getEntriesByType('navigation')[0].nextHopProtocol`)
}

/** What the page logged as a warning or an error, and what it could not load. */
function complaintsOf(page: Page): string[] {
  const complaints: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(error.message))
  return complaints
}
