/** Which fields of a VM's response reach the client, as header and as trailer, over HTTP/1.1 and HTTP/2. */

import t from 'tap'
import { informFields, responseFields, trailerFields } from '../../proxy/response-fields.ts'
import type { Framing, ResponseHead } from '../../proxy/response-parser.ts'
import { fakeExchange, REQUEST_ID } from './fake-exchange.ts'

const H1 = fakeExchange({ version: '1.1' })
const H2 = fakeExchange({ version: '2' })
const OURS = ['via', '1.1 edge-1', 'x-request-id', REQUEST_ID]

function headOf(headers: readonly string[], framing: Framing = 'length'): ResponseHead {
  const names = headers.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase())
  return { status: 200, reason: 'OK', headers, names, framing, length: 1, keepAlive: true }
}

t.test('a VM sets no cookie of ours, nor clears one', async (t) => {
  for (const name of ['__Host-landfall', '__host-LANDFALL-flow-a', ' __Host-landfall-session'])
    t.same(passed(['Set-Cookie', `${name}=x; Path=/; Secure`, 'set-cookie', 'a=1']), [
      ...['set-cookie', 'a=1'],
      ...OURS,
    ])
  t.same(passed(['Set-Cookie', 'x__Host-landfall=1']), [...['Set-Cookie', 'x__Host-landfall=1'], ...OURS])
  const route = {
    hostname: 'auth.test',
    visibility: 'public',
    state: 'running',
    generation: 0,
    isOwn: true,
  } as const
  const own = ['Set-Cookie', '__Host-landfall=x']
  t.same(passed(own, fakeExchange({ record: { route } })), [...own, ...OURS], 'but our own pages do')
})

function passed(headers: readonly string[], exchange = H1, framing: Framing = 'length'): string[] {
  return responseFields(headOf(headers, framing), exchange, 'edge-1')
}

t.test(
  'passes end-to-end fields on as they were written, in their order, and ours behind them',
  async (t) => {
    const fields = [
      'Set-Cookie',
      'a=1',
      'X-B',
      'c',
      'set-cookie',
      'b=2',
      'Content-Length',
      '1',
      'ETag',
      '"x"',
    ]
    t.same(passed(fields), [...fields, ...OURS])
    t.same(passed([]), OURS)
  },
)

t.test('writes names in lower case for HTTP/2, which refuses any other', async (t) => {
  t.same(passed(['Set-Cookie', 'A=1', 'X-B', 'C', 'Set-Cookie', 'B=2'], H2), [
    ...['set-cookie', 'A=1', 'x-b', 'C', 'set-cookie', 'B=2'],
    ...OURS,
  ])
})

const HOP_BY_HOP = [
  ...[
    'Connection',
    'Keep-Alive',
    'Proxy-Connection',
    'Proxy-Authenticate',
    'TE',
    'Transfer-Encoding',
    'Upgrade',
  ],
  ...['HTTP2-Settings'],
]

t.test('drops fields of the hop, at which HTTP/2 would throw', async (t) => {
  for (const exchange of [H1, H2]) {
    for (const name of HOP_BY_HOP) {
      for (const spelling of [name, name.toLowerCase(), name.toUpperCase()])
        t.same(passed([spelling, 'h2,h2c', 'x', 'y'], exchange), ['x', 'y', ...OURS], spelling)
    }
  }
})

t.test('drops what Connection names, in any of its fields and in any case', async (t) => {
  t.same(passed(['Connection', 'close, X-Hop', 'x-hop', '1', 'X-HOP', '2', 'x', 'y']), ['x', 'y', ...OURS])
  t.same(passed(['x-b', '1', 'Connection', 'x-a', 'x-a', '1', 'Connection', 'x-b', 'x', 'y']), [
    'x',
    'y',
    ...OURS,
  ])
  t.same(passed(['Connection', 'keep-alive', 'x', 'y']), ['x', 'y', ...OURS])
})

t.test('a VM cannot speak in our name', async (t) => {
  t.same(passed(['X-Request-Id', 'forged', 'x', 'y']), ['x', 'y', ...OURS])
})

t.test('announces trailers only where they can follow', async (t) => {
  const trailer = ['Trailer', 'grpc-status']
  t.same(passed(trailer, H1, 'chunked'), [...trailer, ...OURS])
  t.same(passed(trailer, H2, 'chunked'), ['trailer', 'grpc-status', ...OURS])
  t.same(passed(trailer, H1, 'length'), OURS)
  t.same(passed(trailer, fakeExchange({ version: '1.0' }), 'chunked'), OURS)
})

t.test('an informational response carries nothing of ours and nothing of the hop', async (t) => {
  const head = headOf(['Link', '</a>; rel=preload', 'Connection', 'x-hop', 'X-Hop', '1'])
  t.same(informFields(head, H1), ['Link', '</a>; rel=preload'])
  t.same(informFields(head, H2), ['link', '</a>; rel=preload'])
})

const NEVER_TRAILERS = [
  ...[
    'Content-Length',
    'Transfer-Encoding',
    'Host',
    'Trailer',
    'Content-Encoding',
    'Content-Type',
    'Content-Range',
  ],
  ...[
    'Connection',
    'Keep-Alive',
    'TE',
    'Upgrade',
    'Authorization',
    'Proxy-Authorization',
    'Proxy-Authenticate',
  ],
  ...[
    'Set-Cookie',
    'Cookie',
    'Cache-Control',
    'Expect',
    'Max-Forwards',
    'Pragma',
    'Range',
    'Location',
    'Date',
    'Age',
  ],
  ...[
    'Via',
    'Forwarded',
    'X-Forwarded-For',
    'X-Forwarded-Proto',
    'X-Forwarded-Host',
    'X-Forwarded-Port',
    'CDN-Loop',
  ],
  ...['X-Request-Id', 'traceparent', 'tracestate', 'X-Landfall-User', ':path', ':status'],
]

t.test('passes trailers on, but none that frame, route or authenticate, in no spelling', async (t) => {
  t.same(trailerFields(['Grpc-Status', '0', 'grpc-message', '', 'Server-Timing', 'x']), [
    ...['grpc-status', '0', 'grpc-message', '', 'server-timing', 'x'],
  ])
  for (const name of NEVER_TRAILERS) {
    for (const spelling of [name, name.toLowerCase(), name.toUpperCase(), name.replaceAll('-', '_')])
      t.same(trailerFields([spelling, 'forged', 'x', 'y']), ['x', 'y'], spelling)
  }
})
