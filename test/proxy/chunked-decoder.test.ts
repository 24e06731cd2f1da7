/** The decoder of chunked bodies by tables: sizes, extensions, trailers, and reads that end anywhere. */

import { array, asyncProperty, nat, tuple, uint8Array } from 'fast-check'
import t from 'tap'
import { ChunkedDecoder } from '../../proxy/chunked-decoder.ts'
import { fuzzFor } from '../helpers/fuzz.ts'
import { bytesOf, cutsAfterEach } from './response-bytes.ts'

interface Decoded {
  readonly body: string
  readonly trailers: readonly string[]
  /** What follows the body; undefined while it is not complete. */
  readonly rest: string | undefined
}

function decode(bytes: Buffer, cuts: readonly number[] = []): Decoded {
  const decoder = new ChunkedDecoder()
  const ends = [...cuts, bytes.length]
  let body = ''
  let rest: string | undefined
  for (const [at, end] of ends.entries()) {
    const piece = bytes.subarray(at === 0 ? 0 : ends[at - 1], end)
    const left = rest === undefined ? decoder.feed(piece, (data) => (body += data.toString('latin1'))) : piece
    if (left !== undefined) rest = (rest ?? '') + left.toString('latin1')
  }
  return { body, trailers: decoder.trailers, rest }
}

const BODIES: readonly (readonly [
  name: string,
  text: string,
  body: string,
  trailers: string[],
  rest: string,
])[] = [
  ['no chunk', '0||', '', [], ''],
  ['one chunk', '5|hello|0||', 'hello', [], ''],
  ['chunks', '1|a|2|bc|0||', 'abc', [], ''],
  ['sizes in hex of both cases', 'a|0123456789|0B|0123456789a|0||', '01234567890123456789a', [], ''],
  ['zeros before the size', '000000000001|a|000||', 'a', [], ''],
  ['data that looks like framing', '9|0||1|a|0||', '0\r\n\r\n1\r\na', [], ''],
  ['extensions', '1;a|x|1;a;b=c;d="e f\\"";g|y|0;h||', 'xy', [], ''],
  ['trailers', '0|A: b|c:|A: d||', '', ['A', 'b', 'c', '', 'A', 'd'], ''],
  ['what follows', '1|x|0||HTTP/1.1 200', 'x', [], 'HTTP/1.1 200'],
  ['what follows trailers', '0|a: b|||', '', ['a', 'b'], '\r\n'],
]

t.test('decodes, in one read and byte by byte', async (t) => {
  for (const [name, text, body, trailers, rest] of BODIES) {
    const bytes = bytesOf(text)
    t.same(decode(bytes), { body, trailers, rest }, name)
    t.same(decode(bytes, cutsAfterEach(bytes)), { body, trailers, rest }, `${name}, byte by byte`)
  }
})

const REFUSED: readonly (readonly [name: string, text: string])[] = [
  ['no size', '|hello|0||'],
  ['a size that is no hex', 'g|hello|0||'],
  ['a sign', '+5|hello|0||'],
  ['0x', '0x5|hello|0||'],
  ['a space before the size', ' 5|hello|0||'],
  ['a space behind the size', '5 |hello|0||'],
  ['a size that JavaScript cannot count', '20000000000000|hello'],
  ['a size that wraps around at 2^64', '10000000000000005|hello|0||'],
  ['a bare LF behind the size', '5\nhello|0||'],
  ['a bare CR behind the size', '5\rhello|0||'],
  ['a bare LF behind the data', '5|hello\n0||'],
  ['a chunk that is longer than its size', '4|hello|0||'],
  ['a chunk that is shorter than its size', '6|hello|0||'],
  ['an extension without a name', '5;|hello|0||'],
  ['an extension with a control character', '5;a=\x01|hello|0||'],
  ['an extension with an LF in quotes', '5;a="\n"|hello|0||'],
  ['a trailer without a colon', '0|a||'],
  ['a folded trailer', '0|a: b| c||'],
  ['a bare LF in the trailers', '0|a: b\nc: d||'],
  ['Content-Length in the trailers', '0|content-length: 5||'],
  ['Transfer-Encoding in the trailers', '0|transfer-encoding: chunked||'],
]

t.test('refuses, in one read and byte by byte', async (t) => {
  for (const [name, text] of REFUSED) {
    const bytes = bytesOf(text)
    const fault = { code: 'upstream_invalid' }
    t.throws(() => decode(bytes), fault, name)
    t.throws(() => decode(bytes, cutsAfterEach(bytes)), fault, `${name}, byte by byte`)
  }
})

t.test('is not complete before its last byte', async (t) => {
  for (const [name, text, , , rest] of BODIES) {
    const bytes = bytesOf(text)
    const end = bytes.length - rest.length
    for (let at = 0; at < end; at += 1) {
      const { rest: early } = decode(bytes.subarray(0, at))
      if (early !== undefined) t.fail(`${name}: complete after ${at} of ${end} bytes`)
    }
  }
})

t.test('any bytes in any chunks come out as they went in, however the reads are cut', async (t) => {
  const fuzz = fuzzFor(t, { seconds: 1 })
  const chunks = array(uint8Array({ minLength: 1, maxLength: 50 }), { maxLength: 6 })
  const isWhole = asyncProperty(tuple(chunks, array(nat(400), { maxLength: 5 })), async ([data, places]) => {
    const wire = data.flatMap((chunk) => [
      Buffer.from(`${chunk.length.toString(16)}\r\n`),
      chunk,
      Buffer.from('\r\n'),
    ])
    const bytes = Buffer.concat([...wire, Buffer.from('0\r\n\r\n')])
    const cuts = places.filter((at) => at < bytes.length).sort((a, b) => a - b)
    const { body, rest } = decode(bytes, cuts)
    if (rest !== '' || body !== Buffer.concat(data).toString('latin1')) throw new Error('came out otherwise')
  })
  await fuzz.holds(t, isWhole, 1)
})
