/** The parser of VM responses: what it reads, and every counterexample that the fuzz against Node's parser found. */

import t from 'tap'
import { ResponseParser } from '../../proxy/response-parser.ts'
import { readWithOurs } from './lean-reader.ts'
import { readWithNode } from './node-reader.ts'
import { bytesOf, cutsAfterEach, GET, HEAD, UPGRADE } from './response-bytes.ts'
import type { Asked } from './response-outcome.ts'

const ACCEPT = 'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo='
const CHUNKED = 'HTTP/1.1 200 OK|Transfer-Encoding: chunked||'
const EMPTY = 'HTTP/1.1 200 OK|Content-Length: 0|'

type Reading = readonly [name: string, asked: Asked, text: string, wanted: object]

const READINGS: readonly Reading[] = [
  ['a length', GET, 'HTTP/1.1 200 OK|Content-Length: 5||hello', { body: 'hello', keepAlive: true }],
  ['a length with zeros in front', GET, 'HTTP/1.1 200 OK|Content-Length: 0005||hello', { body: 'hello' }],
  ['a length of nothing', GET, `${EMPTY}|`, { body: '', keepAlive: true }],
  ['no reason', GET, 'HTTP/1.1 200|Content-Length: 0||', { head: { status: 200, reason: '' } }],
  ['an empty reason', GET, 'HTTP/1.1 200 |Content-Length: 0||', { head: { reason: '' } }],
  ['a reason in latin1', GET, 'HTTP/1.1 200 t\xe9|Content-Length: 0||', { head: { reason: 't\xe9' } }],
  ['blanks around a value', GET, `${EMPTY}X:\t a b \t||`, { head: { headers: [/./, '0', 'X', 'a b'] } }],
  ['U+00A0 as part of a value', GET, `${EMPTY}X: \xa0||`, { head: { headers: [/./, '0', 'X', '\xa0'] } }],
  ['no field at all', GET, 'HTTP/1.1 200 OK||rest', { head: { headers: [] }, body: 'rest' }],
  ['an end by closing', GET, 'HTTP/1.1 200 OK|X: y||hello', { body: 'hello', keepAlive: false }],
  ['an end by closing at once', GET, 'HTTP/1.1 200 OK|X: y||', { body: '', isComplete: true }],
  ['HTTP/1.0', GET, 'HTTP/1.0 200 OK|Content-Length: 2||hi', { body: 'hi', keepAlive: false }],
  ['HTTP/1.0 that would stay', GET, 'HTTP/1.0 204 OK|Connection: keep-alive||', { keepAlive: false }],
  ['Connection: close in a list', GET, `${EMPTY}Connection: x ,\tClose||`, { keepAlive: false }],
  [
    'Connection: close in a second field',
    GET,
    `${EMPTY}Connection: x|Connection: close||`,
    { keepAlive: false },
  ],
  ['a word that only starts like close', GET, `${EMPTY}Connection: closed||`, { keepAlive: true }],
  ['chunks', GET, `${CHUNKED}5|hello|00a;x=y;z="q\\"r"|0123456789|0||`, { body: 'hello0123456789' }],
  ['chunks that look like chunks', GET, `${CHUNKED}5|0|||0||`, { body: '0\r\n\r\n' }],
  ['no chunk', GET, `${CHUNKED}0||`, { body: '', trailers: [], keepAlive: true }],
  ['trailers', GET, `${CHUNKED}1|x|0|Grpc-Status: 0|a:||`, { trailers: ['Grpc-Status', '0', 'a', ''] }],
  ['CHUNKED', GET, 'HTTP/1.1 200 OK|transfer-encoding: CHUNKED||1|x|0||', { body: 'x' }],
  ['HEAD with a length', HEAD, 'HTTP/1.1 200 OK|Content-Length: 5||', { body: '', keepAlive: true }],
  ['HEAD with chunked', HEAD, CHUNKED, { body: '', keepAlive: true }],
  ['204', GET, 'HTTP/1.1 204 No Content||', { body: '', keepAlive: true }],
  ['304 with a length', GET, 'HTTP/1.1 304 Not Modified|Content-Length: 5||', { body: '', keepAlive: true }],
  [
    'informational responses first',
    GET,
    'HTTP/1.1 100 Continue||HTTP/1.1 103 Early Hints|Link: </a>||HTTP/1.1 200 OK|Content-Length: 1||x',
    {
      informs: [{ status: 100 }, { status: 103, headers: ['Link', '</a>'] }],
      head: { status: 200 },
      body: 'x',
    },
  ],
  [
    'an upgrade and the first bytes behind it',
    UPGRADE,
    `HTTP/1.1 101 Switching|Upgrade: websocket|Connection: upgrade|${ACCEPT}||\x81\x00`,
    { upgrade: { head: { status: 101 }, rest: '\x81\x00' } },
  ],
  [
    'an upgrade declined',
    UPGRADE,
    'HTTP/1.1 403 No|Content-Length: 2||no',
    { head: { status: 403 }, body: 'no' },
  ],
]

t.test('reads, in one read and byte by byte', async (t) => {
  for (const [name, asked, text, wanted] of READINGS) {
    const bytes = bytesOf(text)
    const outcome = readWithOurs(bytes, asked)
    t.equal(outcome.failure, undefined, name)
    t.match(outcome, { ...wanted, isComplete: true }, name)
    t.same(readWithOurs(bytes, asked, { cuts: cutsAfterEach(bytes) }), outcome, `${name}, byte by byte`)
  }
})

type Counterexample = readonly [name: string, asked: Asked, text: string, refusal: string]

/** All were read by our parser although Node refuses them or reads them in another way. */
const COUNTEREXAMPLES: readonly Counterexample[] = [
  ['a chunk size before a space', GET, `${CHUNKED}5 |hello|0||`, 'chunk size'],
  ['a chunk size before a tab', GET, `${CHUNKED}5\t|hello|0||`, 'chunk size'],
  ['a space before a chunk extension', GET, `${CHUNKED}5 ;a|hello|0||`, 'chunk size'],
  ['a space inside a chunk extension', GET, `${CHUNKED}5; a|hello|0||`, 'chunk size'],
  ['a space behind a chunk extension', GET, `${CHUNKED}5;a="b" |hello|0||`, 'chunk size'],
  ['a semicolon without a chunk extension', GET, `${CHUNKED}5;|hello|0||`, 'chunk size'],
  ['a chunk extension that is no token', GET, `${CHUNKED}5;\xff|hello|0||`, 'chunk size'],
  ['a quoted chunk extension without an end', GET, `${CHUNKED}5;a="b|hello|0||`, 'chunk size'],
  ['a quoted pair outside of quotes', GET, `${CHUNKED}5;a=\\"b"|hello|0||`, 'chunk size'],
  ['a length in the trailers', GET, `${CHUNKED}0|Content-Length: 5||`, 'framing field in the trailers'],
  [
    'a coding in the trailers',
    GET,
    `${CHUNKED}0|Transfer-Encoding: chunked||`,
    'framing field in the trailers',
  ],
  [
    'an informational response in HTTP/1.0',
    GET,
    `HTTP/1.0 100 Continue||${EMPTY}|`,
    'informational response that closes the connection',
  ],
  [
    'an informational response that closes',
    GET,
    `HTTP/1.1 103 Hints|Connection: close||${EMPTY}|`,
    'informational response that closes the connection',
  ],
  [
    'an informational response that closes, in the words of old proxies',
    GET,
    `HTTP/1.1 103 Hints|Proxy-Connection: close||${EMPTY}|`,
    'informational response that closes the connection',
  ],
  [
    'a tab behind chunked',
    GET,
    'HTTP/1.1 200 OK|Transfer-Encoding: chunked\t||5|hello|0||',
    'tab behind the transfer coding',
  ],
  [
    'an upgrade that Connection does not name',
    UPGRADE,
    `HTTP/1.1 101 X|Upgrade: websocket|${ACCEPT}||`,
    'Connection does not name Upgrade',
  ],
  [
    'an upgrade that Connection names with U+00A0 behind',
    UPGRADE,
    `HTTP/1.1 101 X|Upgrade: websocket|Connection: upgrade\xa0|${ACCEPT}||`,
    'Connection does not name Upgrade',
  ],
]

t.test('refuses what the fuzz found', async (t) => {
  for (const [name, asked, text, refusal] of COUNTEREXAMPLES) {
    const ours = readWithOurs(bytesOf(text), asked)
    t.match(ours.failure, { kind: 'refused', detail: refusal }, name)
    // The table is about disagreements: Node takes none of these for what they were taken for.
    const node = await readWithNode(bytesOf(text), asked)
    t.notOk(node.isComplete && node.body === 'hello', `${name}: Node reads it otherwise`)
  }
})

t.test('`Proxy-Connection: close` ends the connection, as Node has it', async (t) => {
  const text = bytesOf(`${EMPTY}Proxy-Connection: close||`)
  t.equal((await readWithNode(text, GET)).keepAlive, false)
  t.equal(readWithOurs(text, GET).keepAlive, false)
})

t.test('what is not a separator is no part of a token in Connection', async (t) => {
  const text = bytesOf(`${EMPTY}Connection: close\xa0||`)
  t.equal((await readWithNode(text, GET)).keepAlive, true)
  t.equal(readWithOurs(text, GET).keepAlive, true)
})

t.test('one parser reads the responses of a connection one after the other', async (t) => {
  const parser = new ResponseParser()
  for (const [name, asked, text, wanted] of READINGS) {
    const outcome = readWithOurs(bytesOf(text), asked, { parser })
    t.match(outcome, wanted, name)
    t.ok(parser.isIdle, `${name}: idle behind it`)
  }
})
