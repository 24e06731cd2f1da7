/**
 * The attacker uses the plain port's redirect to send a victim elsewhere: with a Host of his own, a line break in it,
 * a path that browsers read as another host. The redirect leads to HTTPS on the same name that this edge serves, on the
 * right port, with the path as it came; everything else is refused, and nothing is relayed in clear.
 */

import t, { type Test } from 'tap'
import type { Exchange } from '../../proxy/exchange.ts'
import { redirectToHttps } from '../../proxy/http-listener.ts'
import { APP, type AttackedEdge, attackedEdgeFor, codeOf, refuses } from '../helpers/attacked-edge.ts'
import { QUIET_CERTIFICATES } from '../helpers/quiet-certificates.ts'
import { exchange, isWhole, type RawAnswer } from '../helpers/raw-client.ts'
import { upgradeRequest } from '../helpers/scripted-vm.ts'

async function redirectingEdge(t: Test): Promise<AttackedEdge> {
  return attackedEdgeFor(t, { LANDFALL_HTTP_MODE: 'redirect' })
}

async function ask(edge: AttackedEdge, request: string): Promise<RawAnswer> {
  return exchange(await edge.dialPlain(), request, isWhole)
}

t.test('redirects to the same name, path and query on the HTTPS port', async (t) => {
  const edge = await redirectingEdge(t)
  const base = `https://${APP}:${edge.httpsPort}`
  const cases = [
    [`GET /x?y=1 HTTP/1.1\r\nHost: ${APP}\r\n\r\n`, `${base}/x?y=1`],
    [`GET / HTTP/1.1\r\nHost: ${APP}:8080\r\n\r\n`, `${base}/`],
    [`HEAD /x HTTP/1.1\r\nHost: ${APP}\r\n\r\n`, `${base}/x`],
    [`GET http://${APP}/abs HTTP/1.1\r\nHost: ${APP}\r\n\r\n`, `${base}/abs`],
    [`POST /form HTTP/1.1\r\nHost: ${APP}\r\nContent-Length: 5\r\n\r\nhello`, `${base}/form`],
    [`POST /form HTTP/1.1\r\nHost: ${APP}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, `${base}/form`],
    [`GET /x HTTP/1.0\r\nHost: ${APP}\r\n\r\n`, `${base}/x`],
    [upgradeRequest(APP, '', '/socket'), `${base}/socket`],
  ] as const
  for (const [request, location] of cases) {
    const answer = await ask(edge, request)
    t.equal(answer.status, 308, '308 keeps method and body')
    t.equal(answer.headers.location, location)
  }
  t.same(edge.requestLines(), [], 'nothing goes on in clear')
})

t.test('leaves the port out where HTTPS is on its own port', async (t) => {
  const locations: string[] = []
  const exchange = {
    ...{ method: 'GET', target: '/x', version: '1.1', id: '0'.repeat(32), authority: undefined },
    fields: { count: 1, hostCount: 1, host: `${APP}:80`, lengthCount: 0, transferEncoding: '', expect: '' },
    rawHeaders: ['Host', `${APP}:80`],
    client: {},
    start: (_status: number, _reason: string, headers: readonly string[]) =>
      locations.push(headers[headers.indexOf('location') + 1] ?? ''),
    end: () => {},
  } as unknown as Exchange
  redirectToHttps(exchange, {
    limits: { headerCount: 10, urlBytes: 100 },
    certificates: { ...QUIET_CERTIFICATES, covers: () => true },
    routes: { find: () => ({ hostname: APP, visibility: 'public', state: 'running', generation: 1 }) },
    refuse: (_exchange: Exchange, error: unknown) => t.fail('refused', { error }),
    settle: () => {},
    httpsPort: () => 443,
  } as Parameters<typeof redirectToHttps>[1])
  t.same(locations, [`https://${APP}/x`])
})

t.test('never leads to another host by way of the path', async (t) => {
  const edge = await redirectingEdge(t)
  const paths = [
    '//evil.example/',
    '/\\evil.example',
    '/@evil.example/',
    '/.evil.example',
    '/%0d%0aX-A:%20b',
    '/%2f%2fe',
  ]
  for (const path of paths) {
    const answer = await ask(edge, `GET ${path} HTTP/1.1\r\nHost: ${APP}\r\n\r\n`)
    t.equal(answer.status, 308, path)
    const location = answer.headers.location ?? ''
    t.equal(location, `https://${APP}:${edge.httpsPort}${path}`)
    t.equal(new URL(location).hostname, APP)
    t.equal(answer.headers['x-a'], undefined)
  }
})

const HOSTILE_HOSTS = [
  'evil.example@app.localhost',
  'app.localhost@evil.example',
  'app.localhost/evil',
  'app.localhost:80@evil.example',
  'app.localhost#',
  'app.localhost?',
  'app.localhost\\evil.example',
  'app.localhost:99999',
  'app.localhost evil.example',
  'app.localhost,evil.example',
  '"><script>alert(1)</script>',
  '',
]

t.test('refuses hosts that are none, without a Location', async (t) => {
  const edge = await redirectingEdge(t)
  for (const host of HOSTILE_HOSTS) {
    const answer = await ask(edge, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    t.match({ status: answer.status, code: codeOf(answer) }, { status: 400, code: 'request_host' }, host)
    t.equal(answer.headers.location, undefined)
  }
  const split = await ask(edge, `GET / HTTP/1.1\r\nHost: ${APP}\r\n X-A: b\r\n\r\n`)
  t.equal(split.status, 400)
})

// A cache in front that ignores Host would send every visitor there.
t.test('sends nobody to a host that it does not serve', async (t) => {
  const edge = await redirectingEdge(t)
  for (const host of [
    'evil.example',
    'evil.example:80',
    'app.localhost.evil.example',
    '203.0.113.9',
    '[2001:db8::1]',
  ]) {
    const answer = await ask(edge, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    t.notMatch(answer.headers.location ?? '', /evil|203\.0|2001:/, host)
    t.match(String(answer.status), /^4(04|21)$/)
  }
})

t.test('refuses ambiguous requests on the plain port like everywhere', async (t) => {
  const edge = await attackedEdgeFor(t)
  const redirecting = { ...(await redirectingEdge(t)), requestLines: edge.requestLines }
  const bad = [
    `GET /evil HTTP/1.1\r\nHost: ${APP}\r\nHost: ${APP}\r\n\r\n`,
    `POST /evil HTTP/1.1\r\nHost: ${APP}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `GET http://other.localhost/evil HTTP/1.1\r\nHost: ${APP}\r\n\r\n`,
  ]
  for (const bytes of bad) t.equal((await ask(redirecting, bytes)).status, 400)
  t.equal((await ask(redirecting, `CONNECT ${APP}:80 HTTP/1.1\r\nHost: ${APP}:80\r\n\r\n`)).status, 405)
  t.equal((await ask(redirecting, `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nHost: ${APP}\r\n\r\n`)).status, 414)
  for (const bytes of bad) await refuses(t, edge, bytes, { status: 400 })
})

t.test('keeps the connection after a redirect, and logs it with its request id', async (t) => {
  const edge = await redirectingEdge(t)
  const socket = await edge.dialPlain()
  for (const path of ['/a', '/b']) {
    const answer = await exchange(socket, `GET ${path} HTTP/1.1\r\nHost: ${APP}\r\n\r\n`, isWhole)
    t.equal(answer.status, 308)
    t.match(edge.accessLog.at(-1), { status: 308, request_id: answer.headers['x-request-id'] })
  }
  t.equal(edge.accessLog.length, 2)
})

t.test('relays in clear only when it is told to', async (t) => {
  const edge = await attackedEdgeFor(t, { LANDFALL_HTTP_MODE: 'relay' })
  t.match(await ask(edge, `GET /x HTTP/1.1\r\nHost: ${APP}\r\n\r\n`), { status: 200, body: 'ok' })
  t.match(edge.vm.received[0], /^x-forwarded-proto: http\r$/im)
})
