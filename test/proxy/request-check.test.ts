/** Requests that two parsers could read differently are refused, each with its own code. */

import t, { type Test } from 'tap'
import { checkRequest } from '../../proxy/request-check.ts'
import { type FakeRequest, fakeExchange } from './fake-exchange.ts'

const LIMITS = { headerCount: 10, urlBytes: 100 }
const HOST = ['Host', 'a.test']

type Row = readonly [name: string, request: FakeRequest, code: string]

function refuses(t: Test, rows: readonly Row[]): void {
  for (const [name, request, code] of rows)
    t.throws(() => checkRequest(fakeExchange({ headers: HOST, ...request }), LIMITS), { code }, name)
}

function withFields(...headers: string[]): FakeRequest {
  return { method: 'POST', headers: [...HOST, ...headers] }
}

function h2(...headers: string[]): FakeRequest {
  return { version: '2', headers: [':method', 'GET', ':path', '/', ...headers] }
}

t.test('refuses framing that can be read in two ways', async (t) => {
  refuses(t, [
    ['both lengths', withFields('Content-Length', '5', 'Transfer-Encoding', 'chunked'), 'request_framing'],
    [
      'both, the other way round',
      withFields('Transfer-Encoding', 'chunked', 'Content-Length', '5'),
      'request_framing',
    ],
    [
      'both, with a length of 0',
      withFields('Transfer-Encoding', 'chunked', 'Content-Length', '0'),
      'request_framing',
    ],
    ['Content-Length twice', withFields('Content-Length', '5', 'content-length', '6'), 'request_framing'],
    [
      'the same Content-Length twice',
      withFields('Content-Length', '5', 'Content-Length', '5'),
      'request_framing',
    ],
    ['a list of lengths', withFields('Content-Length', '5, 5'), 'request_framing'],
    ['an empty length', withFields('Content-Length', ''), 'request_framing'],
    ['a signed length', withFields('Content-Length', '+5'), 'request_framing'],
    ['a length in hex', withFields('Content-Length', '0x5'), 'request_framing'],
    ['a length with a fraction', withFields('Content-Length', '5.0'), 'request_framing'],
    [
      'a length that JavaScript cannot count',
      withFields('Content-Length', '9007199254740993'),
      'request_framing',
    ],
    ['another coding', withFields('Transfer-Encoding', 'gzip'), 'request_framing'],
    ['another coding before chunked', withFields('Transfer-Encoding', 'gzip, chunked'), 'request_framing'],
    [
      'chunked in two fields',
      withFields('Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked'),
      'request_framing',
    ],
    ['identity', withFields('Transfer-Encoding', 'identity'), 'request_framing'],
    ['chunked with a parameter', withFields('Transfer-Encoding', 'chunked;q=1'), 'request_framing'],
    ['chunked behind a comma', withFields('Transfer-Encoding', ',chunked'), 'request_framing'],
    ['chunked behind a vertical tab', withFields('Transfer-Encoding', '\x0bchunked'), 'request_syntax'],
    ['chunked before U+00A0', withFields('Transfer-Encoding', 'chunked\xa0'), 'request_framing'],
    [
      'chunked in HTTP/1.0',
      { ...withFields('Transfer-Encoding', 'chunked'), version: '1.0' },
      'request_framing',
    ],
    ['chunked in HTTP/2', h2(':authority', 'a.test', 'transfer-encoding', 'chunked'), 'request_framing'],
    [
      'an upgrade with a body',
      {
        isUpgrade: true,
        headers: [...HOST, 'Upgrade', 'websocket', 'Connection', 'Upgrade', 'Content-Length', '5'],
      },
      'request_upgrade',
    ],
  ])
})

t.test('refuses a host that is missing, doubled, wrong or contradicted', async (t) => {
  refuses(t, [
    ['no Host', { headers: [] }, 'request_host'],
    ['no Host in HTTP/1.0', { version: '1.0', headers: [] }, 'request_host'],
    ['an empty Host', { headers: ['Host', ''] }, 'request_host'],
    ['Host twice', { headers: [...HOST, 'host', 'b.test'] }, 'request_host'],
    ['the same Host twice', { headers: [...HOST, ...HOST] }, 'request_host'],
    ['a Host with a user', { headers: ['Host', 'x@a.test'] }, 'request_host'],
    ['a Host with a wrong port', { headers: ['Host', 'a.test:99999'] }, 'request_host'],
    ['another host in the target', { target: 'http://b.test/' }, 'request_host'],
    ['another port in the target', { target: 'http://a.test:8080/' }, 'request_host'],
    ['no host in the target', { target: 'http:///path' }, 'request_host'],
    ['a user in the target', { target: 'http://x@a.test/' }, 'request_host'],
    ['half an IPv6 address in the target', { target: 'http://[/' }, 'request_host'],
    ['a port beyond 65535 in the target', { target: 'http://a.test:70000/' }, 'request_host'],
    ['a target with a host but no Host', { target: 'http://a.test/', headers: [] }, 'request_host'],
    ['neither :authority nor Host in HTTP/2', h2(), 'request_host'],
    ['Host that is not :authority', h2(':authority', 'a.test', 'host', 'b.test'), 'request_host'],
    ['a wrong :authority beside a good Host', h2(':authority', 'x@a.test', 'host', 'a.test'), 'request_host'],
  ])
})

t.test('refuses targets that would be changed on their way', async (t) => {
  refuses(t, [
    ['no slash', { target: 'path' }, 'request_target'],
    ['nothing', { target: '' }, 'request_target'],
    ['another scheme', { target: 'ftp://a.test/' }, 'request_target'],
    ['a scheme only', { target: 'http:' }, 'request_target'],
    ['a fragment', { target: '/a#b' }, 'request_target'],
    ['a fragment behind a host', { target: 'http://a.test/a#b' }, 'request_target'],
    ['a space', { target: '/a b' }, 'request_target'],
    ['a byte above ASCII', { target: '/\xe9' }, 'request_target'],
    ['DEL', { target: '/\x7f' }, 'request_target'],
    ['NUL', { target: '/\0' }, 'request_target'],
    ['a line break', { target: '/a\r\nX: y' }, 'request_target'],
    ['a star for GET', { target: '*' }, 'request_target'],
    ['a host and port alone', { target: 'a.test:443' }, 'request_target'],
    ['a whole URL in HTTP/2', { ...h2(':authority', 'a.test'), target: 'http://a.test/' }, 'request_target'],
  ])
})

t.test('refuses what is not relayed, and what is above a limit', async (t) => {
  refuses(t, [
    ['TRACE', { method: 'TRACE' }, 'request_method'],
    ['CONNECT', { method: 'CONNECT', target: 'a.test:443' }, 'request_method'],
    ['an unknown expectation', withFields('Expect', 'a-miracle'), 'request_expectation'],
    ['two expectations', withFields('Expect', '100-continue', 'Expect', 'more'), 'request_expectation'],
    ['a control character in a value', withFields('X', 'a\x01b'), 'request_syntax'],
    ['DEL in a value', withFields('X', 'a\x7f'), 'request_syntax'],
    ['a line break in a value', withFields('X', 'a\r\nY: b'), 'request_syntax'],
    ['a field too many', { headers: [...HOST, ...Array(10).fill(['X', 'y']).flat()] }, 'limit_header_count'],
    ['a URL too long', { target: `/${'a'.repeat(100)}` }, 'limit_url'],
  ])
})

type Accepted = readonly [name: string, request: FakeRequest, target: string, host?: string]

const ACCEPTED: readonly Accepted[] = [
  ['a path', { target: '/a/b?c=d&e' }, '/a/b?c=d&e'],
  ['dot segments, as they are', { target: '/public/../admin' }, '/public/../admin'],
  ['escaped dot segments, as they are', { target: '/a/%2e%2E/b%00' }, '/a/%2e%2E/b%00'],
  ['backslashes, as they are', { target: '/a\\..\\b' }, '/a\\..\\b'],
  ['two slashes, as they are', { target: '//b.test/x' }, '//b.test/x'],
  ['a URL inside the query', { target: '/?u=http://b.test/' }, '/?u=http://b.test/'],
  ['a star for OPTIONS', { method: 'OPTIONS', target: '*' }, '*'],
  ['a whole URL', { target: 'http://a.test/x?y' }, '/x?y'],
  ['a whole URL in capitals', { target: 'HTTP://A.TEST/X' }, '/X'],
  ['a whole URL without a path', { target: 'http://a.test' }, '/'],
  ['a whole URL with a query only', { target: 'http://a.test?x' }, '/?x'],
  ['a port', { headers: ['Host', 'A.test.:8443'] }, '/', 'a.test'],
  ['a length', withFields('Content-Length', '5'), '/'],
  ['a length of 0', withFields('Content-Length', '0'), '/'],
  ['chunked', withFields('Transfer-Encoding', 'Chunked'), '/'],
  ['Expect', withFields('Expect', '100-Continue', 'Content-Length', '1'), '/'],
  ['as many fields as there may be', { headers: [...HOST, ...Array(9).fill(['X', 'y']).flat()] }, '/'],
  ['a URL as long as it may be', { target: `/${'a'.repeat(99)}` }, `/${'a'.repeat(99)}`],
  ['a tab and bytes above ASCII in a value', withFields('X', 'a\tb\xe9'), '/'],
  ['a method nobody knows', { method: 'PURGE' }, '/'],
  ['an upgrade', { isUpgrade: true, headers: [...HOST, 'Upgrade', 'websocket'] }, '/'],
  [
    'a body beside an Upgrade that Connection does not name',
    withFields('Upgrade', 'websocket', 'Content-Length', '5'),
    '/',
  ],
  ['HTTP/1.0 with a Host', { version: '1.0' }, '/'],
  [':authority', h2(':authority', 'a.test'), '/'],
  [':authority and an equal Host', h2(':authority', 'a.test', 'host', 'A.test'), '/'],
  ['Host in place of :authority', h2('host', 'a.test'), '/'],
  ['an extended CONNECT', { ...h2(':authority', 'a.test'), method: 'CONNECT', isUpgrade: true }, '/'],
]

t.test('takes what has one reading, and leaves the target as it is', async (t) => {
  for (const [name, request, target, host = 'a.test'] of ACCEPTED) {
    const exchange = fakeExchange({ headers: HOST, ...request })
    t.doesNotThrow(() => checkRequest(exchange, LIMITS), name)
    t.equal(exchange.target, target, name)
    t.equal(exchange.authority.host, host, name)
  }
})

t.test('reads each request of a connection by its own Host', async (t) => {
  const { client } = fakeExchange()
  for (const host of ['a.test', 'a.test', 'b.test', 'a.test']) {
    const exchange = fakeExchange({ headers: ['Host', host], client })
    checkRequest(exchange, LIMITS)
    t.equal(exchange.authority.host, host)
  }
  t.throws(() => checkRequest(fakeExchange({ headers: [], client }), LIMITS), { code: 'request_host' })
})
