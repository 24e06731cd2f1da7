/**
 * The attacker lures a browser to a URL whose host, path or fields hold markup, so that the edge's own error page runs
 * his script on a tenant's origin. Browsers get a page, programs get JSON; in both every text from outside is harmless,
 * the page needs nothing from elsewhere, and the page that explains the errors is served by the edge on every host.
 */

import t from 'tap'
import { FAULTS } from '../../proxy/errors.ts'
import { APP, attackedEdgeFor, codeOf } from '../helpers/attacked-edge.ts'
import { h2Exchange } from '../helpers/h2-client.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { until } from '../helpers/until.ts'

const NOBODY = 'nobody.localhost'
const HTML = 'Accept: text/html\r\n'
const BROWSER =
  'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n'
const ERRORS = '/.landfall/errors'

const get = (host: string, path = '/', extra = '') => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${extra}\r\n`

t.test('gives a page to who asks for HTML, and a problem to everybody else', async (t) => {
  const edge = await attackedEdgeFor(t)
  const page = [HTML, BROWSER, 'accept: TEXT/HTML\r\n', 'Accept: application/xml, text/html;q=0.5\r\n']
  const problem = ['', 'Accept: */*\r\n', 'Accept: application/json\r\n', 'Accept: text/*\r\n']
  for (const [expected, accepts] of [
    ['text/html; charset=utf-8', page],
    ['application/problem+json', problem],
  ] as const) {
    for (const accept of accepts) {
      const answer = await exchange(await edge.dialPlain(), get(NOBODY, '/', accept), isWhole)
      t.equal(answer.status, 404)
      t.equal(answer.headers['content-type'], expected, accept)
    }
  }
})

t.test(
  'says on the page what the problem says: status, text, next step, code, host, request id',
  async (t) => {
    const edge = await attackedEdgeFor(t)
    const { body, headers } = await exchange(await edge.dialPlain(), get(NOBODY, '/', BROWSER), isWhole)
    const { title, next } = FAULTS.route_unknown
    const id = headers['x-request-id'] ?? 'none'
    for (const text of ['<!doctype html>', 'lang="en"', '404', title, 'route_unknown', NOBODY, id]) {
      t.ok(body.includes(text), text)
    }
    t.ok(body.replace(/<[^>]*>/g, '').includes(next.slice(0, 20)), 'the next step')
    t.match(headers['proxy-status'], /destination_not_found/)
    t.match(edge.accessLog.at(-1), { request_id: id, status: 404 })
  },
)

t.test('needs no script and nothing from elsewhere', async (t) => {
  const edge = await attackedEdgeFor(t)
  const { body } = await exchange(await edge.dialPlain(), get(NOBODY, '/', BROWSER), isWhole)
  t.notMatch(body, /<script|<link|<img|<iframe|@import|https?:\/\/|\son\w+=/i)
})

const ATTACKS: readonly (readonly [string, string])[] = [
  ['in Host', get('<script>alert(1)</script>', '/', HTML)],
  ['in Host with quotes', get('"><img/src=x/onerror=alert(1)>.localhost', '/', HTML)],
  ['in the path', get(NOBODY, '/<script>alert(1)</script>', HTML)],
  ['in the path of a bad target', get(NOBODY, '/x#<script>alert(1)</script>', HTML)],
  ['in the query', get(NOBODY, '/?q="><script>alert(1)</script>', HTML)],
  ['in a field', get(NOBODY, '/', `${HTML}X-A: <script>alert(1)</script>\r\n`)],
  ['in Accept', get(NOBODY, '/', 'Accept: text/html, <script>alert(1)</script>\r\n')],
  ['in X-Request-Id', get(NOBODY, '/', `${HTML}X-Request-Id: <script>alert(1)</script>\r\n`)],
  ['in the method', get(NOBODY, '/', HTML).replace('GET', '<SCRIPT>')],
  ['in Expect', get(NOBODY, '/', `${HTML}Expect: <script>alert(1)</script>\r\n`)],
  ['in Transfer-Encoding', get(NOBODY, '/', `${HTML}Transfer-Encoding: <script>\r\n`)],
]

t.test('repeats no markup, whether the client is trusted or not', async (t) => {
  for (const env of [{}, { LANDFALL_TRUSTED_PROXIES: '127.0.0.1' }]) {
    const edge = await attackedEdgeFor(t, env)
    for (const [what, request] of ATTACKS) {
      const answer = await exchange(await edge.dialPlain(), request, isWhole)
      t.ok(answer.status >= 400, what)
      t.notMatch(answer.text, /<script|<img|alert\(1\)|onerror/i, what)
    }
  }
})

t.test('explains every code on the page that problems lead to, on every host', async (t) => {
  const edge = await attackedEdgeFor(t)
  const seen = edge.requestLines().length
  for (const host of [APP, NOBODY, 'localhost', '127.0.0.1']) {
    const problem = await exchange(await edge.dialPlain(), get(NOBODY), isWhole)
    const [path = '', fragment = ''] = String(JSON.parse(problem.body).type).split('#')
    const answer = await exchange(await edge.dialPlain(), get(host, path), isWhole)
    t.match(answer, { status: 200, headers: { 'content-type': 'text/html; charset=utf-8' } }, host)
    for (const code of [...Object.keys(FAULTS), fragment]) t.ok(answer.body.includes(`id="${code}"`), code)
    t.notMatch(answer.body, /<script|https?:\/\//i)
  }
  t.equal(edge.requestLines().length, seen, 'no VM is asked')
})

t.test('serves the page like any answer: with a request id, a log line, for HEAD, over HTTP/2', async (t) => {
  const edge = await attackedEdgeFor(t)
  const socket = await edge.dialPlain()
  for (let round = 0; round < 3; round += 1) {
    const answer = await exchange(socket, get(APP, ERRORS), isWhole)
    t.equal(answer.status, 200)
    const id = answer.headers['x-request-id']
    t.match(id, /^[0-9a-f]{32}$/)
    await until(() => edge.accessLog.length === round + 1, 'a line for each', 2_000)
    t.match(edge.accessLog.at(-1), { request_id: id, status: 200 })
  }
  const head = get(APP, ERRORS, 'Connection: close\r\n').replace('GET', 'HEAD')
  t.match(await exchange(await edge.dialPlain(), head), { status: 200, body: '' })
  const overH2 = await h2Exchange(await edge.h2(APP), { ':path': ERRORS })
  t.match(overH2, { status: 200, body: /id="route_unknown"/ })
  t.same(edge.requestLines(), [], 'no VM is asked')
})

// A request that is never settled would count as active for ever, and hide what comes behind it.
t.test('answers a malformed request that comes after the page on the same connection', async (t) => {
  const edge = await attackedEdgeFor(t)
  const socket = await edge.dialPlain()
  t.equal((await exchange(socket, get(APP, ERRORS), isWhole)).status, 200)
  const answer = await exchange(socket, get(APP, '/', 'X : y\r\n'), isWhole)
  t.match({ status: answer.status, code: codeOf(answer) }, { status: 400, code: 'request_syntax' })
})

t.test('gives the same errors over HTTP/2', async (t) => {
  const edge = await attackedEdgeFor(t)
  const session = await edge.h2(APP)
  const page = await h2Exchange(session, { ':path': '/x#y', accept: 'text/html' })
  t.match(page, { status: 400, headers: { 'content-type': 'text/html; charset=utf-8' } })
  const problem = await h2Exchange(session, { ':path': '/x#y' })
  t.match(JSON.parse(problem.body), { code: 'request_target', requestId: problem.headers['x-request-id'] })
  const head = await h2Exchange(session, { ':path': '/x#y', ':method': 'HEAD' })
  t.match(head, { status: 400, body: '', headers: { 'proxy-status': /http_request_error/ } })
})
