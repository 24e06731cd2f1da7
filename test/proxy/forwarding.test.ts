/** The request head that a VM gets, to the letter: forwarding fields are ours unless a configured proxy is in front. */

import t from 'tap'
import { checkLoop, requestHead } from '../../proxy/forwarding.ts'
import { type FakeRequest, fakeExchange, REQUEST_ID } from './fake-exchange.ts'

const SETTINGS = { edgeName: 'edge-1', loopId: 'example.test' }
const TLS = { version: 'TLSv1.3', cipher: 'x', serverName: 'app.test', isNameLost: false }
const TRACE = `00-${REQUEST_ID}-${REQUEST_ID.slice(16)}-01`

function headOf(request: FakeRequest): string[] {
  const head = requestHead(fakeExchange({ host: 'app.test', ...request }), SETTINGS)
  t.match(head, /\r\n\r\n$/, 'ends in one empty line')
  return head.split('\r\n').slice(0, -2)
}

t.test('writes a request of a client that it does not trust', async (t) => {
  const forged = [
    ...['X-Forwarded-For', '6.6.6.6', 'X-Forwarded-Proto', 'gopher', 'X-Forwarded-Host', 'evil.test'],
    ...['X-Forwarded-Port', '1', 'Forwarded', 'for=6.6.6.6', 'Via', '1.1 evil', 'X-Request-Id', 'forged-id'],
    ...[
      'traceparent',
      '00-ff-ff-01',
      'tracestate',
      'evil=1',
      'X_Forwarded_For',
      '6.6.6.6',
      'X-Landfall-User',
      'root',
    ],
  ]
  const headers = [
    'Host',
    'App.test:8443',
    'Accept',
    '*/*',
    ...forged,
    'Cookie',
    'a=1',
    'Connection',
    'keep-alive',
  ]
  const client = { tls: TLS }
  t.same(headOf({ target: '/x?y=1', host: 'App.test:8443', headers, client }), [
    'GET /x?y=1 HTTP/1.1',
    'host: App.test:8443',
    'Accept: */*',
    'cookie: a=1',
    'x-forwarded-for: 192.0.2.7',
    'x-forwarded-proto: https',
    'x-forwarded-host: App.test:8443',
    'x-forwarded-port: 8443',
    'forwarded: for=192.0.2.7;host="App.test:8443";proto=https',
    'via: 1.1 edge-1',
    `traceparent: ${TRACE}`,
    'cdn-loop: example.test',
    `x-request-id: ${REQUEST_ID}`,
  ])
})

t.test('writes a request that came over plain HTTP/2 from an IPv6 address', async (t) => {
  const request: FakeRequest = {
    version: '2',
    method: 'DELETE',
    headers: [':method', 'DELETE', ':authority', 'app.test', 'cookie', 'a=1', 'cookie', 'b=2'],
    client: { address: '2001:db8::1' },
  }
  t.same(headOf(request), [
    'DELETE / HTTP/1.1',
    'host: app.test',
    'cookie: a=1; b=2',
    'x-forwarded-for: 2001:db8::1',
    'x-forwarded-proto: http',
    'x-forwarded-host: app.test',
    'x-forwarded-port: 80',
    'forwarded: for="[2001:db8::1]";host="app.test";proto=http',
    'via: 2 edge-1',
    `traceparent: ${TRACE}`,
    'cdn-loop: example.test',
    `x-request-id: ${REQUEST_ID}`,
  ])
})

t.test('keeps the word of a trusted proxy and adds the edge to its lists', async (t) => {
  const headers = [
    ...['X-Forwarded-For', '203.0.113.9', 'X-Forwarded-Proto', 'https', 'X-Forwarded-Host', 'www.test'],
    ...['X-Forwarded-Port', '443', 'Forwarded', 'for=203.0.113.9;proto=https', 'Via', '2 front'],
    ...[
      'traceparent',
      '00-aa-bb-01',
      'tracestate',
      'v=1',
      'X-Forwarded-For',
      '198.51.100.1',
      'CDN-Loop',
      'front.test',
    ],
  ]
  const client = { isTrusted: true, address: '10.0.0.1' }
  t.same(headOf({ headers, client }), [
    'GET / HTTP/1.1',
    'host: app.test',
    'x-forwarded-for: 203.0.113.9, 198.51.100.1, 10.0.0.1',
    'x-forwarded-proto: https',
    'x-forwarded-port: 443',
    'x-forwarded-host: www.test',
    'forwarded: for=203.0.113.9;proto=https, for=10.0.0.1;host="app.test";proto=https',
    'via: 2 front, 1.1 edge-1',
    'traceparent: 00-aa-bb-01',
    'tracestate: v=1',
    'cdn-loop: front.test, example.test',
    `x-request-id: ${REQUEST_ID}`,
  ])
})

t.test('fills in what a trusted proxy leaves out, and believes no underscore spelling', async (t) => {
  const headers = [
    'X_Forwarded_For',
    '6.6.6.6',
    'X_Forwarded_Proto',
    'gopher',
    'X-Forwarded_Host',
    'evil.test',
  ]
  const client = { isTrusted: true, address: '10.0.0.1', tls: TLS }
  t.same(headOf({ headers, client }).slice(2), [
    'x-forwarded-for: 10.0.0.1',
    'x-forwarded-proto: https',
    'x-forwarded-port: 443',
    'x-forwarded-host: app.test',
    'forwarded: for=10.0.0.1;host="app.test";proto=https',
    'via: 1.1 edge-1',
    `traceparent: ${TRACE}`,
    'cdn-loop: example.test',
    `x-request-id: ${REQUEST_ID}`,
  ])
})

t.test('identity fields are ours even from a trusted proxy', async (t) => {
  const head = headOf({
    headers: ['X-Landfall-User', 'root', 'x_landfall_email', 'r@x'],
    client: { isTrusted: true },
  })
  t.notMatch(head.join('\n'), /landfall/i)
})

type Framed = readonly [name: string, request: FakeRequest, lines: string[]]

const FRAMED: readonly Framed[] = [
  ['a length', { headers: ['Content-Length', '0012'] }, ['content-length: 12']],
  ['a length of 0', { method: 'POST', headers: ['Content-Length', '0'] }, ['content-length: 0']],
  ['chunked', { headers: ['Transfer-Encoding', 'CHUNKED'] }, ['transfer-encoding: chunked']],
  [
    'DELETE with chunked',
    { method: 'DELETE', headers: ['Transfer-Encoding', 'chunked'] },
    ['transfer-encoding: chunked'],
  ],
  [
    'a body of HTTP/2 without a length',
    { version: '2', bodyFraming: 'chunked' },
    ['transfer-encoding: chunked'],
  ],
  ['no body', { method: 'POST' }, []],
  [
    'Expect with a body',
    { headers: ['Content-Length', '5', 'Expect', '100-Continue'], expectsContinue: true },
    ['content-length: 5', 'expect: 100-continue'],
  ],
  ['Expect without a body', { headers: ['Expect', '100-continue'], expectsContinue: true }, []],
  ['TE: trailers', { headers: ['TE', 'gzip, Trailers'] }, ['te: trailers', 'connection: te']],
  ['another TE', { headers: ['TE', 'gzip;q=1'] }, []],
  [
    'an upgrade',
    { isUpgrade: true, headers: ['Upgrade', 'WebSocket', 'Connection', 'x, Upgrade', 'X', 'hop'] },
    ['connection: Upgrade', 'upgrade: websocket'],
  ],
  ['an Upgrade that nobody takes', { headers: ['Upgrade', 'h2c', 'Connection', 'Upgrade'] }, []],
]

t.test('frames each request once', async (t) => {
  for (const [name, request, lines] of FRAMED) {
    const head = headOf(request)
    t.same(head.slice(head.findIndex((line) => line.startsWith('x-request-id:')) + 1), lines, name)
    const isFraming = /^(content-length|transfer-encoding|connection|upgrade|expect|te|keep-alive):/i
    t.same(
      head.filter((line) => isFraming.test(line)),
      lines,
      `${name}: and nowhere else`,
    )
  }
})

t.test('an extended CONNECT becomes a GET with its path', async (t) => {
  const head = headOf({ version: '2', method: 'CONNECT', target: '/chat', isUpgrade: true })
  t.equal(head[0], 'GET /chat HTTP/1.1')
})

t.test('sends exactly the target that was checked', async (t) => {
  for (const target of ['/a/%2e%2e/b', '/public/../admin', '/a\\..\\b', '//x', '*', '/?'])
    t.equal(headOf({ method: 'OPTIONS', target })[0], `OPTIONS ${target} HTTP/1.1`)
})

const LOOPS: readonly (readonly [cdnLoop: string[], isLoop: boolean])[] = [
  [[], false],
  [['example.test, example.test'], false],
  [['example.test, other.test, example.test, EXAMPLE.test; a=b'], true],
  [['example.test', 'example.test', 'example.test'], true],
  [['other.test, other.test, other.test, other.test'], false],
  [['not-example.test, example.test.x, xexample.test, example.tes'], false],
]

t.test('refuses a request that comes round for the third time', async (t) => {
  for (const [lists, isLoop] of LOOPS) {
    const exchange = fakeExchange({ headers: lists.flatMap((list) => ['CDN-Loop', list]) })
    const check = () => checkLoop(exchange, 'example.test')
    if (isLoop) t.throws(check, { code: 'request_loop' }, lists.join(' | '))
    else t.doesNotThrow(check, lists.join(' | '))
  }
})

const PASSAGE = {
  lines: 'X-Landfall-User: ada\r\nX-Landfall-Assertion: jwt\r\n',
  takes: { authorization: false, proof: false },
  subject: 'ada',
  method: 'cookie',
} as const
const CREDENTIALS = [
  ...[
    'Authorization',
    'Basic a',
    'DPoP',
    'p',
    'authorization',
    'Bearer b',
    'Cookie',
    'a=1; __Host-landfall=x',
  ],
  ...['X-Landfall-Authorization', 'Bearer c', 'X-Landfall-User', 'root', 'X_Landfall_Authorization', 'd'],
]
/** What stands between the client's other fields and the forwarding fields. */
const identityLines = (
  record: NonNullable<FakeRequest['record']>,
  headers: readonly string[] = CREDENTIALS,
) => {
  const lines = headOf({ headers, record })
  return lines.slice(
    2,
    lines.findIndex((line) => line.startsWith('x-forwarded-for')),
  )
}

t.test('tells the VM who it is, and hands on what the edge did not take', async (t) => {
  const ours = ['X-Landfall-User: ada', 'X-Landfall-Assertion: jwt']
  const authorizations = ['Authorization: Basic a', 'authorization: Bearer b']
  const taken = (takes: { authorization: boolean; proof: boolean }) =>
    identityLines({ passage: { ...PASSAGE, takes } })
  t.same(identityLines({ passage: PASSAGE }), [...authorizations, 'DPoP: p', 'cookie: a=1', ...ours])
  t.same(taken({ authorization: true, proof: false }), ['DPoP: p', 'cookie: a=1', ...ours])
  t.same(taken({ authorization: false, proof: true }), [...authorizations, 'cookie: a=1', ...ours])
  t.same(taken({ authorization: true, proof: true }), ['cookie: a=1', ...ours])
})

t.test('what Connection names is not taken from the identity that the edge writes', async (t) => {
  const headers = ['Connection', 'x-landfall-user, x-landfall-assertion, authorization', ...CREDENTIALS]
  t.same(identityLines({ passage: PASSAGE }, headers), [
    'DPoP: p',
    'cookie: a=1',
    'X-Landfall-User: ada',
    'X-Landfall-Assertion: jwt',
  ])
})

t.test('our own pages get credentials and cookies as they were sent', async (t) => {
  const route = {
    hostname: 'auth.test',
    visibility: 'public',
    state: 'running',
    generation: 0,
    isOwn: true,
  } as const
  t.same(identityLines({ route }), [
    'Authorization: Basic a',
    'authorization: Bearer b',
    'DPoP: p',
    'cookie: a=1; __Host-landfall=x',
    'x-landfall-authorization: Bearer c',
  ])
})
