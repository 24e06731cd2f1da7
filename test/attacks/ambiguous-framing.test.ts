/**
 * Request smuggling: the attacker sends a request whose length can be read in two ways, with a second request hidden
 * where only one reading sees it. A naive proxy picks one reading, or repairs the message, and the VM picks the
 * other. Here each one must be refused with 400, the VM must see neither request, and the connection closes.
 */

import t from 'tap'
import { APP, attackedEdgeFor, refuses } from '../helpers/attacked-edge.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { scriptedVmFor } from '../helpers/scripted-vm.ts'

const SMUGGLED = `GET /smuggled HTTP/1.1\r\nHost: ${APP}\r\n\r\n`
const CHUNKED_SMUGGLED = `0\r\n\r\n${SMUGGLED}`

/** Fields, and the bytes behind the head. */
const CODINGS: readonly (readonly [string, string, string])[] = [
  ['identity', 'Transfer-Encoding: identity', SMUGGLED],
  ['gzip alone', 'Transfer-Encoding: gzip', SMUGGLED],
  ['gzip, chunked', 'Transfer-Encoding: gzip, chunked', CHUNKED_SMUGGLED],
  ['chunked, gzip', 'Transfer-Encoding: chunked, gzip', CHUNKED_SMUGGLED],
  ['chunked, identity', 'Transfer-Encoding: chunked, identity', CHUNKED_SMUGGLED],
  ['identity, chunked', 'Transfer-Encoding: identity, chunked', CHUNKED_SMUGGLED],
  ['chunked twice in one field', 'Transfer-Encoding: chunked, chunked', CHUNKED_SMUGGLED],
  [
    'chunked twice in two fields',
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked',
    CHUNKED_SMUGGLED,
  ],
  [
    'identity then chunked in two fields',
    'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked',
    CHUNKED_SMUGGLED,
  ],
  [
    'chunked then gzip in two fields',
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip',
    CHUNKED_SMUGGLED,
  ],
  ['an empty value', 'Transfer-Encoding:', SMUGGLED],
  ['an empty list item in front', 'Transfer-Encoding: ,chunked', CHUNKED_SMUGGLED],
  ['an empty list item behind', 'Transfer-Encoding: chunked,', CHUNKED_SMUGGLED],
  ['a parameter', 'Transfer-Encoding: chunked;q=1', CHUNKED_SMUGGLED],
  ['quotes', 'Transfer-Encoding: "chunked"', CHUNKED_SMUGGLED],
  ['a letter in front', 'Transfer-Encoding: xchunked', CHUNKED_SMUGGLED],
  ['a letter behind', 'Transfer-Encoding: chunkedx', CHUNKED_SMUGGLED],
  ['a vertical tab in front', 'Transfer-Encoding: \x0bchunked', CHUNKED_SMUGGLED],
  ['an inner space', 'Transfer-Encoding: chun ked', CHUNKED_SMUGGLED],
  ['obs-text behind', 'Transfer-Encoding: chunked\xa0', CHUNKED_SMUGGLED],
]

const LENGTHS: readonly (readonly [string, string, string])[] = [
  ['two equal fields', 'Content-Length: 5\r\nContent-Length: 5', `hello${SMUGGLED}`],
  ['two different fields', 'Content-Length: 5\r\nContent-Length: 0', `hello${SMUGGLED}`],
  ['two different fields, the short first', 'Content-Length: 0\r\nContent-Length: 5', `hello${SMUGGLED}`],
  ['two fields, 0 and 0', 'Content-Length: 0\r\nContent-Length: 0', SMUGGLED],
  ['two fields in two cases', 'Content-Length: 5\r\ncontent-length: 5', `hello${SMUGGLED}`],
  ['a list of equal numbers', 'Content-Length: 5, 5', `hello${SMUGGLED}`],
  ['a list of different numbers', 'Content-Length: 5, 0', `hello${SMUGGLED}`],
  ['a plus sign', 'Content-Length: +5', `hello${SMUGGLED}`],
  ['a minus sign', 'Content-Length: -1', SMUGGLED],
  ['minus zero', 'Content-Length: -0', SMUGGLED],
  ['hexadecimal', 'Content-Length: 0x5', `hello${SMUGGLED}`],
  ['an exponent', 'Content-Length: 5e0', `hello${SMUGGLED}`],
  ['a fraction', 'Content-Length: 5.0', `hello${SMUGGLED}`],
  ['two numbers with a space', 'Content-Length: 5 5', `hello${SMUGGLED}`],
  ['quotes', 'Content-Length: "5"', `hello${SMUGGLED}`],
  ['an empty value', 'Content-Length:', SMUGGLED],
  ['2 to the power of 64', 'Content-Length: 18446744073709551616', SMUGGLED],
  ['2 to the power of 64 and 5', 'Content-Length: 18446744073709551621', `hello${SMUGGLED}`],
  ['more digits than a double can hold', 'Content-Length: 9007199254740993', SMUGGLED],
  ['a vertical tab in front', 'Content-Length: \x0b5', `hello${SMUGGLED}`],
]

const BOTH: readonly (readonly [string, string, string])[] = [
  ['CL then TE', 'Content-Length: 5\r\nTransfer-Encoding: chunked', CHUNKED_SMUGGLED],
  ['TE then CL', 'Transfer-Encoding: chunked\r\nContent-Length: 5', CHUNKED_SMUGGLED],
  ['CL 0 then TE', 'Content-Length: 0\r\nTransfer-Encoding: chunked', CHUNKED_SMUGGLED],
  ['TE identity then CL', 'Transfer-Encoding: identity\r\nContent-Length: 5', `hello${SMUGGLED}`],
  ['CL then empty TE', 'Content-Length: 5\r\nTransfer-Encoding:', `hello${SMUGGLED}`],
  ['TE then CL that is a list', 'Transfer-Encoding: chunked\r\nContent-Length: 5, 5', CHUNKED_SMUGGLED],
  [
    'TE twice with CL between',
    'Transfer-Encoding: chunked\r\nContent-Length: 5\r\nTransfer-Encoding: identity',
    CHUNKED_SMUGGLED,
  ],
]

for (const [subject, cases] of [
  ['a Transfer-Encoding other than chunked', CODINGS],
  ['Content-Length that is not one number', LENGTHS],
  ['both Content-Length and Transfer-Encoding', BOTH],
] as const) {
  t.test(`refuses ${subject}`, async (t) => {
    const edge = await attackedEdgeFor(t)
    for (const [what, fields, rest] of cases) {
      for (const method of ['POST', 'GET', 'DELETE', 'OPTIONS']) {
        await t.test(`${what} (${method})`, async (t) => {
          await refuses(t, edge, `${method} /evil HTTP/1.1\r\nHost: ${APP}\r\n${fields}\r\n\r\n${rest}`, {
            status: 400,
          })
        })
      }
    }
  })
}

t.test('refuses chunked in HTTP/1.0, whatever the connection says', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const extra of ['', 'Connection: keep-alive\r\n']) {
    const head = `POST /evil HTTP/1.0\r\nHost: ${APP}\r\n${extra}Transfer-Encoding: chunked\r\n\r\n`
    await refuses(t, edge, head + CHUNKED_SMUGGLED, { status: 400, code: 'request_framing' })
  }
})

t.test('names the framing as what is wrong', async (t) => {
  const edge = await attackedEdgeFor(t)
  const fields = [
    'Transfer-Encoding: identity',
    'Content-Length: 5\r\nContent-Length: 5',
    'Content-Length: 5\r\nTransfer-Encoding: chunked',
    'Content-Length: +5',
  ]
  for (const field of fields) {
    await refuses(t, edge, `POST /evil HTTP/1.1\r\nHost: ${APP}\r\n${field}\r\n\r\n`, {
      status: 400,
      code: 'request_framing',
    })
  }
})

// RFC 9110 section 8.6 says 1*DIGIT: leading zeros are one number to everybody, and the VM gets it written plainly.
t.test('takes leading zeros in Content-Length as the number that they are', async (t) => {
  const edge = await attackedEdgeFor(t)
  const vm = await scriptedVmFor(t)
  await edge.route('zeros.localhost', vm.port)
  const request = 'POST / HTTP/1.1\r\nHost: zeros.localhost\r\nContent-Length: 0005\r\n\r\nhello'
  t.equal((await exchange(await edge.dialPlain(), request, isWhole)).status, 200)
  t.equal(vm.requests[0]?.body, 'hello')
  t.match(vm.requests[0]?.head, /^content-length: 5$/im)
})

// RFC 9112 section 5.1 strips the tab, Node's parser does not: what is taken and what is refused must be the whole.
t.test('takes or refuses a tab behind chunked, but never leaves the client without an answer', async (t) => {
  const edge = await attackedEdgeFor(t)
  const head = `POST /evil HTTP/1.1\r\nHost: ${APP}\r\nTransfer-Encoding: chunked\t\r\n\r\n`
  const answer = await exchange(await edge.dialPlain(), `${head}5\r\nhello\r\n0\r\n\r\n`, isWhole)
  t.match(String(answer.status), /^(200|400)$/)
  t.equal(edge.requestLines().length, answer.status === 200 ? 1 : 0, 'the VM sees it when it is taken only')
})

t.test('takes chunked in any case, and frames it anew for the VM', async (t) => {
  const edge = await attackedEdgeFor(t)
  const vm = await scriptedVmFor(t)
  await edge.route('chunked.localhost', vm.port)
  for (const value of ['chunked', 'Chunked', 'CHUNKED', '  chunked']) {
    const head = `POST / HTTP/1.1\r\nHost: chunked.localhost\r\nTransfer-Encoding: ${value}\r\n\r\n`
    const request = `${head}5;ext=1\r\nhello\r\n0\r\n\r\n`
    t.equal((await exchange(await edge.dialPlain(), request, isWhole)).status, 200, value)
    const last = vm.requests.at(-1)
    t.match(last?.head, /^transfer-encoding: chunked$/im)
    t.equal(last?.body, '5\r\nhello\r\n0\r\n\r\n')
  }
})
