/** The access log: one valid JSON line per request, with the field names that its readers know and without secrets. */

import { asyncProperty, record, string } from 'fast-check'
import t from 'tap'
import { createAccessLog } from '../../proxy/access-log.ts'
import { fuzzFor } from '../helpers/fuzz.ts'
import { type FakeRequest, fakeExchange, REQUEST_ID } from './fake-exchange.ts'

const TLS = {
  version: 'TLSv1.3',
  cipher: 'TLS_AES_128_GCM_SHA256',
  serverName: 'app.test',
  isNameLost: false,
}
const ROUTE = {
  ...{ hostname: 'app.test', visibility: 'public', state: 'running', generation: 3, vm: 'app', port: 8000 },
  upstream: { host: '127.0.0.1', port: 9000 },
}

function linesOf(request: FakeRequest, durationSeconds = 0.25): string[] {
  const lines: string[] = []
  createAccessLog({ write: (line) => lines.push(line) })(fakeExchange(request), durationSeconds)
  return lines
}

function lineOf(request: FakeRequest, durationSeconds?: number) {
  const [line = '', ...more] = linesOf(request, durationSeconds)
  if (more.length > 0 || line.indexOf('\n') !== line.length - 1) throw new Error(`not one line: ${line}`)
  return JSON.parse(line)
}

const RELAYED: FakeRequest = {
  method: 'POST',
  target: '/upload',
  host: 'App.test',
  headers: ['Host', 'App.test', 'User-Agent', 'curl/8'],
  client: { address: '192.0.2.7', tls: TLS },
  record: {
    ...{ status: 200, bytesIn: 10, bytesOut: 20, retries: 1, route: ROUTE },
    ...{
      upstreamReused: true,
      upstreamConnectMs: 1.5,
      upstreamFirstByteMs: 2.25,
      closeReason: 'client_gone',
    },
  },
}

t.test('says what was asked, what was answered, and by whom', async (t) => {
  t.match(lineOf(RELAYED), {
    ...{ level: 30, logger: 'access', msg: 'request', request_id: REQUEST_ID },
    request: {
      ...{ remote_ip: '192.0.2.7', proto: 'HTTP/1.1', method: 'POST', host: 'app.test', uri: '/upload' },
      user_agent: 'curl/8',
    },
    ...{ status: 200, size: 20, bytes_in: 10, duration: 0.25, close_reason: 'client_gone' },
    upstream: { addr: '127.0.0.1:9000', connect_ms: 1.5, ttfb_ms: 2.25, reused: true, retries: 1 },
  })
  t.match(lineOf({ version: '2' }), { request: { proto: 'HTTP/2.0' } })
  t.match(lineOf({ version: '1.0' }), { request: { proto: 'HTTP/1.0' } })
})

t.test('says why a request was refused, and no upstream where there was none', async (t) => {
  const line = lineOf({ record: { status: 404, errorCode: 'route_unknown', errorDetail: 'spelling' } })
  t.match(line, { status: 404, error_code: 'route_unknown' })
  t.notOk('upstream' in line)
})

t.test('tells the time of the request', async (t) => {
  const before = Date.now()
  const { ts, time } = lineOf({})
  const ms = time ?? ts * 1_000
  t.ok(ms >= before - 1_000 && ms <= Date.now() + 1_000, `${ts} ${time}`)
})

const NAMES = [
  ...[
    'ts',
    'level',
    'logger',
    'msg',
    'request.remote_ip',
    'request.client_ip',
    'request.proto',
    'request.method',
  ],
  ...['request.host', 'request.uri', 'status', 'size', 'duration', 'request_id', 'vm_id', 'close_reason'],
  ...['upstream.addr', 'upstream.connect_ms', 'upstream.ttfb_ms', 'upstream.reused', 'upstream.retries'],
  ...['tls.version', 'tls.cipher', 'tls.sni', 'bytes_in', 'bytes_out'],
]

t.test('names its fields as promised', async (t) => {
  const line = lineOf(RELAYED)
  for (const name of NAMES) {
    const value = name.split('.').reduce((object, part) => object?.[part], line)
    t.not(value, undefined, name)
  }
})

const SECRET = 'c2VjcmV0'
const SECRETIVE: readonly (readonly [name: string, request: FakeRequest])[] = [
  ['a query', { target: `/x?token=${SECRET}` }],
  ['a second question mark', { target: `/x?a?${SECRET}` }],
  ['a cookie', { headers: ['Cookie', `__Host-landfall=${SECRET}`] }],
  ['a bearer token', { headers: ['Authorization', `Bearer ${SECRET}`] }],
  ['a token of ours', { headers: ['X-Landfall-Authorization', `Bearer ${SECRET}`] }],
  ['a proxy password', { headers: ['Proxy-Authorization', `Basic ${SECRET}`] }],
  ['the page it came from', { headers: ['Referer', `http://a.test/?token=${SECRET}`] }],
  ['a query of a whole URL', { target: `http://a.test/x?token=${SECRET}` }],
  ['a password in a URL that is refused', { target: `http://user:${SECRET}@a.test/x` }],
  ['a fragment that is refused', { target: `/x#access_token=${SECRET}` }],
  ['a query of nothing but that', { target: `?${SECRET}` }],
]

t.test('keeps queries, cookies and tokens to itself', async (t) => {
  for (const [name, request] of SECRETIVE) t.notMatch(linesOf(request).join(), new RegExp(SECRET), name)
  t.equal(lineOf({ target: '/x?token=1' }).request.uri, '/x')
})

t.test('is one line of valid JSON whatever a client sends', async (t) => {
  const text = string({ unit: 'binary', maxLength: 20 })
  const hostile = record({ agent: text, method: text, target: text, detail: text })
  const isValid = asyncProperty(hostile, async ({ agent, method, target, detail }) => {
    const headers = ['User-Agent', agent]
    const { request, error_detail } = lineOf({ headers, method, target, record: { errorDetail: detail } })
    const expected = [agent || undefined, method, detail || undefined]
    if (JSON.stringify([request.user_agent, request.method, error_detail]) !== JSON.stringify(expected))
      throw new Error('came out otherwise')
  })
  await fuzzFor(t, { seconds: 1 }).holds(t, isValid, 1)
})

t.test('numbers stay numbers', async (t) => {
  for (const seconds of [0, 1e-9, 1 / 3, 1e6]) t.type(lineOf({}, seconds).duration, 'number')
})

t.test(
  'says who it was and how that was proven, nothing of a stranger, and why the gate refused',
  async (t) => {
    const takes = { authorization: false, proof: false }
    const passage = { lines: '', takes, subject: 'ada"\n', method: 'cookie' } as const
    t.match(lineOf({ record: { passage } }), { sub: 'ada"\n', auth: 'cookie' })
    const stranger = lineOf({ record: { passage: { lines: '', takes, subject: undefined, method: 'none' } } })
    t.notOk('sub' in stranger || 'auth' in stranger || 'auth_reason' in stranger)
    t.match(lineOf({ record: { errorCode: 'auth_invalid', authReason: 'unknown-kid' } }), {
      auth_reason: 'unknown-kid',
    })
  },
)
