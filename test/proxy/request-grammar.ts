/** What clients send to an edge: valid requests one after the other, and all that can be wrong with them. */

import {
  type Arbitrary,
  array,
  constant,
  constantFrom,
  integer,
  nat,
  oneof,
  record,
  string,
  tuple,
} from 'fast-check'
import {
  addLine,
  byte,
  change,
  meaningfulLine,
  oddLine,
  oddSize,
  repeatLine,
  truncate,
} from './http-mutations.ts'

export interface ClientBytes {
  /** Latin1. */
  readonly text: string
  /** Where a write ends, ascending. */
  readonly cuts: readonly number[]
}

const HOST = 'app.localhost'
const SMUGGLED = `GET /smuggled HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`
const BODIES = ['', 'x', 'hello', SMUGGLED, `0\r\n\r\n${SMUGGLED}`, `\r\n${SMUGGLED}`, '\0\r\n\xff']

const method = constantFrom('GET', 'GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'HEAD', 'PATCH', 'PURGE')
const target = oneof(
  constantFrom('/', '/a/b?c=d', '/a/../b', '/%2e%2e/%00', '//x', '/a\\b'),
  constantFrom(
    '*',
    `http://${HOST}/x`,
    `HTTP://${HOST}`,
    `http://${HOST}?x`,
    'http://other.localhost/',
    'http://[',
  ),
  constantFrom('', '/a b', '/#x', 'x', 'ftp://x/', `${HOST}:80`, `http://u@${HOST}/`, `/${'a'.repeat(500)}`),
  string({ unit: byte, maxLength: 8 }).map((text) => `/${text}`),
)
const plainTarget = constantFrom('/', '/a/b?c=d', '/a/../b', '/%2e%2e/%00', `http://${HOST}/x`)
const version = constantFrom('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0')
const host = oneof(
  { weight: 8, arbitrary: constant(`Host: ${HOST}\r\n`) },
  {
    weight: 2,
    arbitrary: constantFrom(
      ...[
        '',
        `Host: ${HOST}\r\nHost: ${HOST}\r\n`,
        `Host: ${HOST.toUpperCase()}.:8080\r\n`,
        'Host: other.localhost\r\n',
      ],
      ...[
        `Host: u@${HOST}\r\n`,
        `Host: ${HOST}:99999\r\n`,
        `Host:\r\n`,
        `Host: ${HOST}\r\nHost: other.localhost\r\n`,
      ],
    ),
  },
)
const field = constantFrom(
  ...['Accept: */*', 'Cookie: a=1', 'Cookie: b=2', 'X-A: b', 'User-Agent: x', 'TE: trailers', 'Trailer: x'],
  ...[
    'X-Forwarded-For: 6.6.6.6',
    'x_forwarded_for: 6.6.6.6',
    'X-Request-Id: forged-forged',
    'X-Landfall-User: root',
  ],
  ...[
    'Via: 1.1 evil',
    'CDN-Loop: x',
    'Forwarded: for=6.6.6.6',
    'traceparent: 00-0-0-01',
    'Keep-Alive: timeout=5',
  ],
  ...[
    'Connection: keep-alive',
    'Connection: x-a, host, content-length',
    'Proxy-Connection: x',
    'Proxy-Authorization: x',
  ],
  ...[
    'Expect: 100-continue',
    'Upgrade: h2c',
    'HTTP2-Settings: x',
    'Transfer_Encoding: chunked',
    'Content_Length: 5',
  ],
).map((line) => `${line}\r\n`)
const handshake = constant(
  'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n',
)
const body = constantFrom(...BODIES)

function chunked(parts: readonly string[], trailers: string): string {
  const chunks = parts
    .filter((part) => part !== '')
    .map((part) => `${part.length.toString(16)}\r\n${part}\r\n`)
  return `${chunks.join('')}0\r\n${trailers}\r\n`
}

const trailers = constantFrom(
  '',
  '',
  'X-Sum: 1\r\n',
  'Content-Length: 5\r\n',
  'X-Landfall-User: root\r\nHost: x\r\n',
)
const framed = oneof(
  constant({ lines: '', wire: '' }),
  body.map((wire) => ({ lines: `Content-Length: ${wire.length}\r\n`, wire })),
  tuple(array(body, { maxLength: 3 }), trailers).map(([parts, trailer]) => ({
    lines: 'Transfer-Encoding: chunked\r\n',
    wire: chunked(parts, trailer),
  })),
  // Lengths that are wrong, missing or contradicted.
  tuple(array(oneof(meaningfulLine, oddLine), { maxLength: 2 }), body).map(([lines, wire]) => ({
    lines: lines.join(''),
    wire,
  })),
)

const request = record({
  line: tuple(method, oneof(plainTarget, plainTarget, target), version).map(
    (parts) => `${parts.join(' ')}\r\n`,
  ),
  host,
  fields: array(oneof({ weight: 12, arbitrary: field }, { weight: 1, arbitrary: handshake }), {
    maxLength: 4,
  }),
  framed,
}).map((it) => `${it.line}${it.host}${it.fields.join('')}${it.framed.lines}\r\n${it.framed.wire}`)

const mutation = oneof(change, change, addLine, repeatLine, oddSize, truncate)

const stream = tuple(
  array(request, { minLength: 1, maxLength: 3 }).map((requests) => requests.join('')),
  oneof(constant([]), array(mutation, { minLength: 1, maxLength: 2 })),
).map(([text, mutations]) => mutations.reduce((now, mutate) => mutate(now), text))

/** All bytes that one connection sends. */
export const clientBytes: Arbitrary<ClientBytes> = tuple(
  oneof({ weight: 15, arbitrary: stream }, { weight: 1, arbitrary: string({ unit: byte, maxLength: 80 }) }),
  array(nat(10_000), { maxLength: 3 }),
  integer({ min: 0, max: 2 }),
).map(([text, places, howMany]) => {
  const cuts = places.slice(0, howMany).map((place) => Math.floor((place * text.length) / 10_001))
  return { text, cuts: [...new Set(cuts)].sort((a, b) => a - b) }
})
