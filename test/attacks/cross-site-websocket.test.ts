/**
 * The attacker has a page on another site, or a VM beside the victim's, and lets the victim's browser open a WebSocket to
 * the victim's VM: the browser sends the victim's cookie, and no rule of the same origin keeps the attacker from reading
 * what comes back. The cookie must count for the host's own pages and those of the same VM, and for nobody else.
 */

import { request as httpsRequest } from 'node:https'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { type Ask, TestBrowser } from '../auth/login/browser.ts'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { h2Call } from '../helpers/h2-client.ts'
import { exchange } from '../helpers/raw-client.ts'
import { putTestRoute } from '../helpers/route.ts'
import { EXTENDED_CONNECT } from '../helpers/routed-edge.ts'
import { upgradeRequest } from '../helpers/scripted-vm.ts'
import { until } from '../helpers/until.ts'
import { wsOriginFor } from '../helpers/ws-origin.ts'

const HOST = 'app.localhost'
/** Another port of the same VM. */
const PORT_HOST = '3000--app.localhost'
const NEIGHBOUR = 'evil.localhost'
const ADA = 'ada@example.test'

async function sceneFor(t: Test, visibility: 'private' | 'public' = 'private') {
  const edge = await edgeFor(t)
  const vm = await wsOriginFor(t)
  const upstream = { host: '127.0.0.1', port: vm.port }
  const grants = [{ id: 'grant-of-ada', to: { kind: 'email', value: ADA }, role: 'viewer' }] as const
  const rows = [
    { hostname: HOST, vm: 'app', port: 80 },
    { hostname: PORT_HOST, vm: 'app', port: 3000 },
    { hostname: NEIGHBOUR, vm: 'evil', port: 80 },
  ]
  for (const row of rows)
    await putTestRoute(edge.store, { ...row, visibility, upstream, grants: [...grants] })
  const browser = new TestBrowser((ask) => send(edge, ask))
  await until(
    async () => (await browser.ask(`https://${NEIGHBOUR}:${edge.httpsPort}/.landfall/login`)).status !== 404,
    'the rows',
  )
  const page = await browser.visit(`https://${HOST}:${edge.httpsPort}/.landfall/login?to=/`)
  const answer = await browser.submit(page, { email: ADA })
  if (answer.body !== 'hello') throw new Error(`no login: ${answer.status} ${answer.url.href} ${answer.body}`)
  const cookie = `__Host-landfall=${browser.cookie(HOST, '__Host-landfall')}`
  return { edge, vm, cookie, own: `https://${HOST}:${edge.httpsPort}` }
}

function send({ httpsPort, ca }: TestEdge, { url, method, headers, body }: Ask) {
  return new Promise<{
    status: number
    headers: Record<string, string | string[] | undefined>
    body: string
    url: URL
  }>((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port: httpsPort,
      servername: url.hostname,
      ca,
      method,
      agent: false,
    } as const
    const path = `${url.pathname}${url.search}`
    const call = httpsRequest({ ...options, path, headers: { ...headers, host: url.host } }, (response) => {
      text(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body, url }),
        reject,
      )
    })
    call.once('error', reject).end(body)
  })
}

type Scene = Awaited<ReturnType<typeof sceneFor>>

/** The statuses that a WebSocket with these lines gets over HTTP/1.1 and HTTP/2. */
async function statuses(
  { edge, cookie }: Scene,
  fields: Readonly<Record<string, string>>,
): Promise<number[]> {
  const lines = Object.entries({ Cookie: cookie, ...fields }).map(([name, value]) => `${name}: ${value}\r\n`)
  const one = await exchange(await edge.dial(HOST), upgradeRequest(HOST, lines.join('')), (text) =>
    text.includes('\r\n\r\n'),
  )
  const lower = Object.entries(fields).map(([name, value]) => [name.toLowerCase(), value])
  const head = { ...EXTENDED_CONNECT, cookie, ...Object.fromEntries(lower) }
  const two = h2Call(await edge.h2(HOST), head, { hasBody: true })
  await until(() => two.answer.status > 0, 'the answer over HTTP/2')
  return [one.status, two.answer.status]
}

t.test('pages of the host itself and of the same VM open WebSockets', async (t) => {
  const scene = await sceneFor(t)
  for (const origin of [scene.own, `https://${HOST}`, `https://${PORT_HOST}:${scene.edge.httpsPort}`])
    t.same(await statuses(scene, { Origin: origin }), [101, 200], origin)
  const { headers } = scene.vm.requests[0] ?? {}
  t.equal(headers?.['x-landfall-email'], ADA)
  t.equal(headers?.cookie, undefined)
})

t.test('no page of anybody else does, and what has no origin does not', async (t) => {
  const scene = await sceneFor(t)
  const foreign: Record<string, string>[] = [
    { Origin: 'https://evil.test' },
    { Origin: `https://${NEIGHBOUR}:${scene.edge.httpsPort}` },
    { Origin: 'null' },
    { Origin: `https://${HOST}.evil.test` },
    { Origin: `https://evil${HOST}` },
    { Origin: `http://${HOST}@evil.test` },
    {},
    { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'websocket' },
    { Origin: scene.own, 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'websocket' },
  ]
  for (const fields of foreign) t.same(await statuses(scene, fields), [403, 403], JSON.stringify(fields))
  t.same(scene.vm.requests, [])
  t.match(scene.edge.accessLog.at(-1), { error_code: 'auth_origin' })
})

t.test('on a public port they come in as strangers', async (t) => {
  const scene = await sceneFor(t, 'public')
  t.same(await statuses(scene, { Origin: 'https://evil.test' }), [101, 200])
  for (const { headers } of scene.vm.requests) {
    t.equal(headers['x-landfall-user'], undefined)
    t.equal(headers['x-landfall-assertion'], undefined)
  }
})
