/** What a visitor sees of a custom name without a certificate: a page that says why, over HTTPS and over plain HTTP, and the redirect as soon as there is one. */

import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { chromium } from 'playwright-core'
import t, { type Test } from 'tap'
import { readServed, visitFirst } from '../helpers/acme-edge.ts'
import { orderingEdgesFor, type SharingEdge } from '../helpers/certified-edges.ts'
import { edgeCall } from '../helpers/edge-call.ts'
import { originFor } from '../helpers/origin.ts'
import { until } from '../helpers/until.ts'

const NAME = 'www.shop.test'
const DEADLINE_MS = 20_000
const CHALLENGE = '/.well-known/acme-challenge/'
/** As VMs with an ACME client of their own have them. */
const TOKEN = 'evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA'

async function sceneFor(t: Test, options: Parameters<typeof orderingEdgesFor>[1] = {}) {
  const ordering = await orderingEdgesFor(t, options)
  const origin = await originFor(t, (request, response) => response.end(`VM ${request.url}`))
  await ordering.route({ hostname: NAME, visibility: 'public', port: origin.port })
  return ordering
}

/** A request to the plain port. */
async function askPlain({ httpPort }: SharingEdge, path = '/', hostname = NAME) {
  const outgoing = request({
    ...{ host: '127.0.0.1', port: httpPort, path, agent: false },
    headers: { host: hostname, accept: 'text/html' },
  })
  outgoing.end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  return { status: response.statusCode ?? 0, headers: response.headers, body: await text(response) }
}

const hasRedirect = async (edge: SharingEdge) => (await askPlain(edge)).status === 308

async function browserFor(t: Test) {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', `--host-resolver-rules=MAP ${NAME} 127.0.0.1`],
  })
  t.teardown(() => browser.close())
  return browser.newPage({ ignoreHTTPSErrors: true })
}

t.test('a browser is shown that the order is under way, and then that it failed', async (t) => {
  const refusal = Promise.withResolvers<string>()
  const { edges, smallCa } = await sceneFor(t, { smallCa: { validate: validatorOf(refusal.promise) } })
  const [edge, other] = edges
  const page = await browserFor(t)
  const address = `https://${NAME}:${edge.httpsPort}/`
  const pending = await page.goto(address)
  t.equal(pending?.status(), 503)
  t.match(pending?.headers()['retry-after'], /^\d+$/)
  t.match(await page.textContent('body'), /The certificate of this host name is being made/)
  t.match(await page.textContent('body'), /certificate_pending/)
  const plain = await askPlain(other)
  t.match(plain, { status: 503, body: /certificate_pending/ }, 'the other edge knows as well')
  t.match(plain.headers['retry-after'], /^\d+$/)

  refusal.resolve('the name says no')
  const hasFailed = async () => (await askPlain(other)).body.includes('certificate_refused')
  await until(hasFailed, 'the failure is known', DEADLINE_MS)
  const failed = await page.goto(address)
  t.equal(failed?.status(), 503)
  // The first pause after a failure is a minute, more or less.
  t.ok(Number(failed?.headers()['retry-after']) > 20)
  const text = (await page.textContent('body')) ?? ''
  t.match(text, /It is tried again at 20\d\d/)
  t.notMatch(text, 'the name says no', 'the words of an authority are for the owner')
  t.equal(smallCa.orders.filter(({ names }) => names[0] === NAME).length, 1)
})

/** The verdict on the custom name comes late. */
function validatorOf(verdict: Promise<string>) {
  return ({ name }: { readonly name: string }) => (name === NAME ? verdict : undefined)
}

t.test('plain HTTP redirects again as soon as there is a certificate', async (t) => {
  const { edges, admin, smallCa } = await sceneFor(t, { smallCa: { validate: () => 'not yet' } })
  const [edge, other] = edges
  await readServed(edge.httpsPort, { hostname: NAME, root: smallCa.rootPem })
  const hasFailed = async () => (await askPlain(edge)).body.includes('certificate_refused')
  await until(hasFailed, 'the page says that it failed', DEADLINE_MS)
  t.equal((await askPlain(edge)).headers.location, undefined)
  delete smallCa.options.validate
  t.equal((await admin('POST', `/v1/certificates/${NAME}/renew`)).status, 200)
  await until(() => hasRedirect(edge), 'the redirect is back', DEADLINE_MS)
  await until(() => hasRedirect(other), 'at the other edge too', DEADLINE_MS)
  const { headers } = await askPlain(edge, '/path?query')
  t.equal(headers.location, `https://${NAME}:${edge.httpsPort}/path?query`)
  t.equal((await readServed(edge.httpsPort, { hostname: NAME, root: smallCa.rootPem })).isTrusted, true)
})

t.test('a first visit over plain HTTP is led to the handshake that orders the certificate', async (t) => {
  const { edges, smallCa } = await sceneFor(t)
  const [edge] = edges
  const location = `https://${NAME}:${edge.httpsPort}/`
  const first = await askPlain(edge)
  t.match(first, { status: 308, headers: { location, 'cache-control': 'no-store' } })
  await t.resolves(visitFirst(edges, { hostname: NAME, root: smallCa.rootPem }))
  const second = await askPlain(edge)
  t.match(second, { status: 308, headers: { location } })
  t.equal(second.headers['cache-control'], undefined, 'a browser may keep it from now on')
})

t.test('the plain port asks nobody for a certificate of a name that leads nowhere', async (t) => {
  const { edges, store } = await sceneFor(t)
  t.equal((await askPlain(edges[0], '/', 'stranger.test')).status, 404)
  t.same((await store.list('order/stranger.test', { limit: 1 })).documents, [])
})

t.test("a path of a VM's own ACME client goes to the VM, by way of the redirect or at once", async (t) => {
  const { edges, smallCa } = await sceneFor(t)
  const [edge] = edges
  const isTrusted = async () =>
    (await readServed(edge.httpsPort, { hostname: NAME, root: smallCa.rootPem })).isTrusted
  await until(isTrusted, 'the certificate is there', DEADLINE_MS)
  const relaying = await sceneFor(t, { env: { LANDFALL_HTTP_MODE: 'relay' } })
  for (const path of [`${CHALLENGE}${TOKEN}`, `${CHALLENGE}x`, CHALLENGE]) {
    const location = `https://${NAME}:${edge.httpsPort}${path}`
    t.match(await askPlain(edge, path), { status: 308, headers: { location } })
    t.match(await edgeCall(edge, { hostname: NAME, path }), { status: 200, body: `VM ${path}` })
    t.match(await askPlain(relaying.edges[0], path), { status: 200, body: `VM ${path}` })
  }
})
