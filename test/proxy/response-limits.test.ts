/** Sizes and states of the response parser: where its limits lie, wherever a read ends, and what it knows of itself. */

import t from 'tap'
import { RelayError } from '../../proxy/errors.ts'
import { ResponseParser, type ResponseSink } from '../../proxy/response-parser.ts'
import { readWithOurs } from './lean-reader.ts'
import { bytesOf, GET, HEAD } from './response-bytes.ts'

const HELLO = 'HTTP/1.1 200 OK|Content-Length: 5||hello'
const MAX_HEAD_BYTES = 65_536
const MAX_TRAILER_BYTES = 16_384
const nothing = () => {}
const SINK: ResponseSink = { inform: nothing, head: nothing, data: nothing, end: nothing, upgraded: nothing }

function parserFor(): ResponseParser {
  const parser = new ResponseParser()
  parser.expect(GET, SINK)
  return parser
}

/** A head of exactly `bytes`, without its last empty line. */
function headOf(bytes: number): string {
  const start = 'HTTP/1.1 204 No Content\r\nX: '
  return start + 'y'.repeat(bytes - start.length)
}

function trailersOf(bytes: number): string {
  return `X: ${'y'.repeat(bytes - 3)}`
}

/** One read, and reads that end at each of the last bytes. */
function outcomesOf(text: string): (string | undefined)[] {
  const bytes = bytesOf(text)
  const ends = Array.from({ length: 8 }, (_, at) => [bytes.length - 8 + at])
  return [[], ...ends].map((cuts) => readWithOurs(bytes, GET, { cuts }).failure?.code)
}

const CHUNKED = 'HTTP/1.1 200 OK|Transfer-Encoding: chunked||'
const LIMITS: readonly (readonly [name: string, fits: string, exceeds: string, code: string])[] = [
  ['a head', `${headOf(MAX_HEAD_BYTES)}||`, `${headOf(MAX_HEAD_BYTES + 1)}||`, 'upstream_header_too_large'],
  [
    'a head behind an informational one',
    `HTTP/1.1 103 X||${headOf(MAX_HEAD_BYTES)}||`,
    `HTTP/1.1 103 X||${headOf(MAX_HEAD_BYTES + 1)}||`,
    'upstream_header_too_large',
  ],
  [
    'trailers',
    `${CHUNKED}0|${trailersOf(MAX_TRAILER_BYTES)}||`,
    `${CHUNKED}0|${trailersOf(MAX_TRAILER_BYTES + 1)}||`,
    'upstream_invalid',
  ],
  [
    'a chunk-size line',
    `${CHUNKED}0;${'x'.repeat(1_021)}||`,
    `${CHUNKED}0;${'x'.repeat(1_022)}||`,
    'upstream_invalid',
  ],
  [
    'the number of fields',
    `HTTP/1.1 204 X|${'a:|'.repeat(1_000)}|`,
    `HTTP/1.1 204 X|${'a:|'.repeat(1_001)}|`,
    'upstream_header_too_large',
  ],
  [
    'the number of trailers',
    `${CHUNKED}0|${'a:|'.repeat(1_000)}|`,
    `${CHUNKED}0|${'a:|'.repeat(1_001)}|`,
    'upstream_header_too_large',
  ],
  [
    'the number of informational responses',
    `${'HTTP/1.1 102 X||'.repeat(64)}${HELLO}`,
    `${'HTTP/1.1 102 X||'.repeat(65)}${HELLO}`,
    'upstream_invalid',
  ],
]

t.test('has limits that lie at the same byte however the reads are cut', async (t) => {
  for (const [name, fits, exceeds, code] of LIMITS) {
    t.same([...new Set(outcomesOf(fits))], [undefined], `${name} that fits`)
    t.same([...new Set(outcomesOf(exceeds))], [code], `${name} that is too large`)
  }
})

const HOPELESS: readonly (readonly [name: string, text: string, code: string])[] = [
  ['a first byte that starts no status line', 'S', 'upstream_invalid'],
  ['another version', 'HTTP/2', 'upstream_invalid'],
  ['a bare LF', 'HTTP/1.1 200 OK\n', 'upstream_invalid'],
  ['a head without an end', headOf(MAX_HEAD_BYTES + 4), 'upstream_header_too_large'],
  ['a chunk-size line without an end', `${CHUNKED}${'0'.repeat(2_000)}`, 'upstream_invalid'],
  ['a chunk that is longer than its size', `${CHUNKED}1|xy`, 'upstream_invalid'],
  ['trailers without an end', `${CHUNKED}0|${trailersOf(MAX_TRAILER_BYTES + 4)}`, 'upstream_invalid'],
]

t.test('refuses what cannot become valid without waiting for more', async (t) => {
  for (const [name, text, code] of HOPELESS) t.throws(() => parserFor().feed(bytesOf(text)), { code }, name)
})

t.test('hands on a body before its end came', async (t) => {
  for (const text of ['HTTP/1.1 200 OK|Content-Length: 9||', CHUNKED, 'HTTP/1.1 200 OK||']) {
    const got: string[] = []
    const parser = new ResponseParser()
    parser.expect(GET, { ...SINK, data: (chunk) => got.push(chunk.toString()) })
    parser.feed(bytesOf(text))
    parser.feed(bytesOf(text === CHUNKED ? '5|he' : 'he'))
    t.same(got, ['he'], text)
  }
})

t.test('knows whether anything of a response came, which rules out a second attempt', async (t) => {
  const parser = parserFor()
  t.equal(parser.hasStarted, false)
  parser.feed(Buffer.alloc(0))
  t.equal(parser.hasStarted, false, 'an empty read is nothing')
  parser.feed(bytesOf('H'))
  t.equal(parser.hasStarted, true, 'one byte is something')
  const informed = parserFor()
  informed.feed(bytesOf('HTTP/1.1 100 Continue||'))
  t.equal(informed.hasStarted, true, 'so is an informational response')
  informed.feed(bytesOf(HELLO))
  informed.expect(GET, SINK)
  t.equal(informed.hasStarted, false, 'the next response has not started')
})

t.test('is idle only between responses', async (t) => {
  const parser = new ResponseParser()
  t.equal(parser.isIdle, true)
  parser.expect(GET, SINK)
  t.equal(parser.isIdle, false, 'a response is expected')
  parser.feed(bytesOf(HELLO.slice(0, -1)))
  t.equal(parser.isIdle, false, 'one byte is missing')
  parser.feed(bytesOf('o'))
  t.equal(parser.isIdle, true)
  t.throws(() => parser.feed(bytesOf('x')), { code: 'upstream_invalid' }, 'nothing is expected')
})

t.test('reads each response by the request that it answers', async (t) => {
  const parser = new ResponseParser()
  const text = 'HTTP/1.1 200 OK|Content-Length: 5||'
  t.match(readWithOurs(bytesOf(text), HEAD, { parser }), { isComplete: true, body: '' })
  t.match(readWithOurs(bytesOf(`${text}hello`), GET, { parser }), { isComplete: true, body: 'hello' })
})

t.test('an error of whoever is told goes up as it is', async (t) => {
  const parser = new ResponseParser()
  const head = () => {
    throw new TypeError('broken')
  }
  parser.expect(GET, { ...SINK, head })
  t.throws(() => parser.feed(bytesOf(HELLO)), TypeError)
})

t.test('refusals are errors of the relay that name what was wrong and who is at fault', async (t) => {
  try {
    parserFor().feed(bytesOf('SSH-2.0|'))
    t.fail('was read')
  } catch (error) {
    t.type(error, RelayError)
    t.match(error, { code: 'upstream_invalid', detail: /HTTP/, fault: { status: 502, source: 'upstream' } })
  }
})
