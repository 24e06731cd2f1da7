/**
 * The attacker writes a request that is not HTTP as RFC 9112 has it: bare line feeds, folded lines, a space before
 * the colon, NUL and other control characters. Lenient parsers read each in a way of their own, so a naive proxy that
 * repairs and forwards lets the VM see other fields than were checked. Each must be refused with 400; the VM sees nothing.
 */

import t from 'tap'
import { APP, attackedEdgeFor, refuses, serves } from '../helpers/attacked-edge.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'

const HOST = `Host: ${APP}`

const LINES: readonly (readonly [string, string])[] = [
  ['line feeds only', `GET /evil HTTP/1.1\n${HOST}\n\n`],
  ['a bare LF behind the request line', `GET /evil HTTP/1.1\n${HOST}\r\n\r\n`],
  ['a bare LF behind a field', `GET /evil HTTP/1.1\r\n${HOST}\nX-A: b\r\n\r\n`],
  ['a bare LF as the end of the head', `GET /evil HTTP/1.1\r\n${HOST}\r\nX-A: b\n\r\n`],
  ['an empty line of a bare LF', `GET /evil HTTP/1.1\r\n${HOST}\r\n\n`],
  ['a bare CR in a value', `GET /evil HTTP/1.1\r\n${HOST}\r\nX-A: b\rc\r\n\r\n`],
  ['a bare CR as a line end', `GET /evil HTTP/1.1\r\n${HOST}\rX-A: b\r\n\r\n`],
  ['a bare CR behind the request line', `GET /evil HTTP/1.1\r${HOST}\r\n\r\n`],
  ['a folded line with a space', `GET /evil HTTP/1.1\r\n${HOST}\r\nX-A: b\r\n c\r\n\r\n`],
  ['a folded line with a tab', `GET /evil HTTP/1.1\r\n${HOST}\r\nX-A: b\r\n\tc\r\n\r\n`],
  ['a folded Host', `GET /evil HTTP/1.1\r\nHost:\r\n ${APP}\r\n\r\n`],
  ['a folded Content-Length', `POST /evil HTTP/1.1\r\n${HOST}\r\nContent-Length:\r\n 5\r\n\r\nhello`],
  [
    'a folded Transfer-Encoding',
    `POST /evil HTTP/1.1\r\n${HOST}\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n`,
  ],
  ['a folded first field', `GET /evil HTTP/1.1\r\n ${HOST}\r\n\r\n`],
]

const FIELDS: readonly (readonly [string, string])[] = [
  ['a space before the colon', 'X-A : b'],
  ['a tab before the colon', 'X-A\t: b'],
  ['a space before the colon of Content-Length', 'Content-Length : 5'],
  ['a space before the colon of Transfer-Encoding', 'Transfer-Encoding : chunked'],
  ['a space in a name', 'X A: b'],
  ['an empty name', ': b'],
  ['a line without a colon', 'X-A'],
  ['quotes in a name', '"X-A": b'],
  ['parentheses in a name', 'X(A): b'],
  ['a slash in a name', 'X/A: b'],
  ['obs-text in a name', 'X\xc4: b'],
  ['NUL in a name', 'X\0A: b'],
  ['NUL in a value', 'X-A: b\0c'],
  ['NUL at the end of a value', 'X-A: b\0'],
  ['SOH in a value', 'X-A: b\x01c'],
  ['a backspace in a value', 'X-A: b\x08c'],
  ['a vertical tab in a value', 'X-A: b\x0bc'],
  ['a form feed in a value', 'X-A: b\x0cc'],
  ['ESC in a value', 'X-A: \x1b[31m'],
  ['DEL in a value', 'X-A: b\x7fc'],
  ['NUL in Host', 'X-B: c\r\nHost: app\0.localhost'],
]

const REQUEST_LINES: readonly (readonly [string, string])[] = [
  ['NUL in the target', 'GET /ev\0il HTTP/1.1'],
  ['SOH in the target', 'GET /ev\x01il HTTP/1.1'],
  ['a tab in the target', 'GET /ev\til HTTP/1.1'],
  ['a form feed in the target', 'GET /ev\x0cil HTTP/1.1'],
  ['ESC in the target', 'GET /ev\x1bil HTTP/1.1'],
  ['DEL in the target', 'GET /ev\x7fil HTTP/1.1'],
  ['a bare CR in the target', 'GET /ev\ril HTTP/1.1'],
  ['a space in the target', 'GET /ev il HTTP/1.1'],
  ['letters beyond ASCII in the target', 'GET /ev\xefl HTTP/1.1'],
  ['a fragment in the target', 'GET /evil#x HTTP/1.1'],
  ['a version in lower case', 'GET /evil http/1.1'],
  ['text behind the version', 'GET /evil HTTP/1.1 x'],
  ['a method in lower case', 'get /evil HTTP/1.1'],
  ['a method that nobody knows', 'EVIL /evil HTTP/1.1'],
  ['a method with a space in front', ' GET /evil HTTP/1.1'],
  ['a control character in the method', 'GE\x01T /evil HTTP/1.1'],
]

/** RFC 9110 section 15.6.6 has 505 for versions; 400 says the same of what is hardly HTTP. */
const VERSIONS: readonly (readonly [string, string])[] = [
  ['no version', 'GET /evil'],
  ['HTTP/0.9', 'GET /evil HTTP/0.9'],
  ['HTTP/1.2', 'GET /evil HTTP/1.2'],
  ['HTTP/1.10', 'GET /evil HTTP/1.10'],
  ['HTTP/2.0', 'GET /evil HTTP/2.0'],
  ['HTTP/3.0', 'GET /evil HTTP/3.0'],
  ['HTTP/1', 'GET /evil HTTP/1'],
  ['ICE, which Node lets SOURCE use', 'SOURCE /evil ICE/1.0'],
]

t.test('refuses line ends and folding that parsers read in different ways', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const [what, bytes] of LINES) await t.test(what, (t) => refuses(t, edge, bytes, { status: 400 }))
})

t.test('refuses a field line that is not valid', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const [what, line] of FIELDS) {
    await t.test(what, (t) =>
      refuses(t, edge, `GET /evil HTTP/1.1\r\n${HOST}\r\n${line}\r\n\r\n`, { status: 400 }),
    )
    await t.test(`${what}, in front of Host`, (t) =>
      refuses(t, edge, `GET /evil HTTP/1.1\r\n${line}\r\n${HOST}\r\n\r\n`, { status: 400 }),
    )
  }
})

t.test('refuses a request line that is not valid', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const [what, line] of REQUEST_LINES) {
    await t.test(what, (t) => refuses(t, edge, `${line}\r\n${HOST}\r\n\r\n`, { status: 400 }))
  }
})

// Node takes HTTP/0.9 and HTTP/2.0 on an HTTP/1 connection; written on as HTTP/1.1 they would be repaired.
t.test('refuses a version other than 1.0 and 1.1', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const [what, line] of VERSIONS) {
    await t.test(what, (t) => refuses(t, edge, `${line}\r\n${HOST}\r\n\r\n`, { status: [400, 505] }))
  }
})

t.test('refuses the preface of HTTP/2 on the plain port', async (t) => {
  const edge = await attackedEdgeFor(t)
  const settings = '\0\0\0\x04\0\0\0\0\0'
  const answer = await exchange(await edge.dialPlain(), `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${settings}`)
  t.match(String(answer.status), /^(0|400|505)$/)
  await serves(t, edge)
})

t.test('refuses bytes that are no HTTP at all', async (t) => {
  const edge = await attackedEdgeFor(t)
  const garbage = [
    '\0'.repeat(64),
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    '\xff\xfe\xfd',
    '{"a":1}\r\n\r\n',
  ]
  for (const bytes of garbage) {
    t.equal((await exchange(await edge.dialPlain(), bytes)).status, 400)
    await serves(t, edge)
  }
})

t.test('refuses a malformed request behind good ones on the same connection', async (t) => {
  const edge = await attackedEdgeFor(t)
  const socket = await edge.dialPlain()
  const good = `GET /good HTTP/1.1\r\n${HOST}\r\n\r\n`
  t.equal((await exchange(socket, good, isWhole)).status, 200)
  t.equal((await exchange(socket, good, isWhole)).status, 200)
  const answer = await exchange(socket, `GET /evil HTTP/1.1\r\n${HOST}\r\nX-A : b\r\n\r\n`)
  t.equal(answer.status, 400)
  t.same(edge.requestLines(), ['GET /good HTTP/1.1', 'GET /good HTTP/1.1'])
})

t.test('takes what looks odd but is valid', async (t) => {
  const edge = await attackedEdgeFor(t)
  const valid = [
    `GET /good HTTP/1.1\r\n${HOST}\r\nX-A:\r\n\r\n`,
    `GET /good HTTP/1.1\r\n${HOST}\r\nX-A:b\r\n\r\n`,
    `GET /good HTTP/1.1\r\n${HOST}\r\nX-A: \t b\tc \t\r\n\r\n`,
    `GET /good HTTP/1.1\r\n${HOST}\r\nX-A: caf\xe9\r\n\r\n`,
    `GET /good HTTP/1.1\r\n${HOST}\r\n!#$%&'*+-.^_\`|~09: b\r\n\r\n`,
    `\r\nGET /good HTTP/1.1\r\n${HOST}\r\n\r\n`,
    `GET /g%00d?a=%0d%0a&b=[]{}|"<>\\^\` HTTP/1.1\r\n${HOST}\r\n\r\n`,
  ]
  for (const request of valid) {
    t.equal((await exchange(await edge.dialPlain(), request, isWhole)).status, 200, JSON.stringify(request))
  }
})
