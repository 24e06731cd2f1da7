/** What the parser of VM responses refuses, by code: bytes that are no HTTP/1.1, two readings, and early ends. */

import t, { type Test } from 'tap'
import { readWithOurs } from './lean-reader.ts'
import { bytesOf, cutsAfterEach, GET, HEAD } from './response-bytes.ts'
import type { Asked } from './response-outcome.ts'

type Refusal = readonly [name: string, text: string, asked?: Asked]

const HELLO = 'HTTP/1.1 200 OK|Content-Length: 5||hello'
const CHUNKED = 'HTTP/1.1 200 OK|Transfer-Encoding: chunked||'

const INVALID: readonly Refusal[] = [
  ['another protocol', 'SSH-2.0-OpenSSH|'],
  ['another version', 'HTTP/2.0 200 OK||'],
  ['a version in lower case', 'http/1.1 200 OK||'],
  ['an empty line first', `|${HELLO}`],
  ['status 000, at which Node as a server throws', 'HTTP/1.1 000 X|Content-Length: 0||'],
  ['status 099', 'HTTP/1.1 099 X|Content-Length: 0||'],
  ['status 600', 'HTTP/1.1 600 X|Content-Length: 0||'],
  ['a status of two digits', 'HTTP/1.1 20 X||'],
  ['a status of four digits', 'HTTP/1.1 2000 X||'],
  ['a status that is no number', 'HTTP/1.1 2x0 X||'],
  ['two spaces before the status', 'HTTP/1.1  200 X||'],
  ['a control character in the reason', 'HTTP/1.1 200 O\x01K||'],
  ['NUL in the reason', 'HTTP/1.1 200 O\0K||'],
  ['a bare LF behind the status line', 'HTTP/1.1 200 OK\nX: y||'],
  ['a bare LF in a value', 'HTTP/1.1 200 OK|X: y\nZ: 1||'],
  ['a bare LF before the end of the header', 'HTTP/1.1 200 OK|X: y\n||'],
  ['a bare CR in a value', 'HTTP/1.1 200 OK|X: y\rZ: 1||'],
  ['a bare CR behind the status line', 'HTTP/1.1 200 OK\rX: y||'],
  ['a folded line', 'HTTP/1.1 200 OK|X: y| z||'],
  ['a folded line with a colon', 'HTTP/1.1 200 OK|X: y|\tContent-Length: 5||hello'],
  ['a folded first line', 'HTTP/1.1 200 OK| X: y||'],
  ['a space before the colon', 'HTTP/1.1 200 OK|Content-Length : 5||hello'],
  ['a line without a colon', 'HTTP/1.1 200 OK|X||'],
  ['a field without a name', 'HTTP/1.1 200 OK|: y||'],
  ['a name that is no token', 'HTTP/1.1 200 OK|X(: y||'],
  ['a name beyond ASCII', 'HTTP/1.1 200 OK|\xe9: y||'],
  ['NUL in a value', 'HTTP/1.1 200 OK|X: a\0b||'],
  ['DEL in a value', 'HTTP/1.1 200 OK|X: a\x7fb||'],
  ['the same length twice', 'HTTP/1.1 200 OK|Content-Length: 5|Content-Length: 5||hello'],
  ['a list of lengths', 'HTTP/1.1 200 OK|Content-Length: 5, 5||hello'],
  ['a signed length', 'HTTP/1.1 200 OK|Content-Length: +5||hello'],
  ['a length in hex', 'HTTP/1.1 200 OK|Content-Length: 0x5||hello'],
  ['an empty length', 'HTTP/1.1 200 OK|Content-Length:||hello'],
  ['a length beyond 2^53', 'HTTP/1.1 200 OK|Content-Length: 9007199254740993||hello'],
  ['a wrong length of a response without a body', 'HTTP/1.1 304 X|Content-Length: x||'],
  ['a length before chunked', 'HTTP/1.1 200 OK|Content-Length: 5|Transfer-Encoding: chunked||0||'],
  ['a length behind chunked', 'HTTP/1.1 200 OK|Transfer-Encoding: chunked|Content-Length: 5||0||'],
  ['a length and chunked to HEAD', 'HTTP/1.1 200 OK|Content-Length: 5|Transfer-Encoding: chunked||', HEAD],
  ['another coding', 'HTTP/1.1 200 OK|Transfer-Encoding: gzip||x'],
  ['another coding before chunked', 'HTTP/1.1 200 OK|Transfer-Encoding: gzip, chunked||0||'],
  ['another coding behind chunked', 'HTTP/1.1 200 OK|Transfer-Encoding: chunked, gzip||0||'],
  ['chunked twice', 'HTTP/1.1 200 OK|Transfer-Encoding: chunked|Transfer-Encoding: chunked||0||'],
  ['identity', 'HTTP/1.1 200 OK|Transfer-Encoding: identity||x'],
  ['chunked in HTTP/1.0', 'HTTP/1.0 200 OK|Transfer-Encoding: chunked||0||'],
  ['a chunk extension without a value', `${CHUNKED}5;a=|hello|0||`],
  ['a chunk extension without a name', `${CHUNKED}5;=a|hello|0||`],
  ['a body of 204', 'HTTP/1.1 204 X|Content-Length: 1||x'],
  ['a body of 304', 'HTTP/1.1 304 X|Content-Length: 1||x'],
  ['a body to HEAD', HELLO, HEAD],
  ['more than the length', `${HELLO}!`],
  ['an empty line behind the end', `${HELLO}|`],
  ['bytes behind the trailers', `${CHUNKED}0||x`],
  ['a second response', `${HELLO}${HELLO}`],
]

const OTHERS: readonly (readonly [name: string, text: string, code: string])[] = [
  [
    '101 that nobody asked for',
    'HTTP/1.1 101 X|Upgrade: websocket|Connection: upgrade||',
    'upstream_upgrade',
  ],
  ['nothing at all', '', 'upstream_reset'],
  ['one byte', 'H', 'upstream_incomplete'],
  ['half a head', 'HTTP/1.1 200 OK|X: y|', 'upstream_incomplete'],
  ['an informational response only', 'HTTP/1.1 100 Continue||', 'upstream_incomplete'],
  ['half a body', 'HTTP/1.1 200 OK|Content-Length: 5||hel', 'upstream_incomplete'],
  ['no byte of a body', 'HTTP/1.1 200 OK|Content-Length: 5||', 'upstream_incomplete'],
  ['no chunk', CHUNKED, 'upstream_incomplete'],
  ['half a chunk', `${CHUNKED}5|hel`, 'upstream_incomplete'],
  ['no last chunk', `${CHUNKED}5|hello|`, 'upstream_incomplete'],
  ['no end of the trailers', `${CHUNKED}0|X: y|`, 'upstream_incomplete'],
  ['half of the last CRLF', `${CHUNKED}0|\r`, 'upstream_incomplete'],
]

function checkRefusal(
  t: Test,
  name: string,
  { text, asked, code }: { text: string; asked: Asked; code: string },
) {
  const bytes = bytesOf(text)
  const cuts = cutsAfterEach(bytes)
  t.equal(readWithOurs(bytes, asked).failure?.code, code, name)
  t.equal(readWithOurs(bytes, asked, { cuts }).failure?.code, code, `${name}, byte by byte`)
}

t.test('refuses what is not HTTP/1.1, and what can be read in two ways', async (t) => {
  for (const [name, text, asked = GET] of INVALID)
    checkRefusal(t, name, { text, asked, code: 'upstream_invalid' })
})

t.test('tells an early end from no answer at all', async (t) => {
  for (const [name, text, code] of OTHERS) checkRefusal(t, name, { text, asked: GET, code })
})
