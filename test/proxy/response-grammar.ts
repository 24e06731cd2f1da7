/** Every kind of valid HTTP/1.1 response that a VM may send, as generators of its bytes and of what they mean. */

import {
  type Arbitrary,
  array,
  boolean,
  constant,
  constantFrom,
  integer,
  oneof,
  option,
  record,
  string,
  tuple,
  uint8Array,
} from 'fast-check'
import { type Asked, emptyOutcome, type Outcome } from './response-outcome.ts'

export interface Sample {
  readonly asked: Asked
  /** Latin1. */
  readonly text: string
  readonly expected: Outcome
}

interface Line {
  readonly name: string
  readonly value: string
  /** Space and tab around the value. */
  readonly before: string
  readonly after: string
}

interface Message {
  readonly asked: Asked
  readonly status: number
  readonly reason: string
  readonly lines: readonly Line[]
  readonly framing: readonly Line[]
  readonly body: { readonly text: string; readonly wire: string; readonly trailers: readonly Line[] }
  readonly isClose: boolean
}

const TOKEN_CHARS = "abcXYZ019!#$%&'*+-.^_`|~"
const VISIBLE = `${TOKEN_CHARS} \t"(),/:;<=>?@[\\]{}\x80\xa0\xff`

const blank = constantFrom('', ' ', ' ', ' ', '\t', '  ', ' \t ')
const token = string({ unit: constantFrom(...TOKEN_CHARS), minLength: 1, maxLength: 12 })
const value = oneof(
  constantFrom('', 'x', 'a b', 'text/html; charset=utf-8', '"quoted, list", other'),
  string({ unit: constantFrom(...VISIBLE), maxLength: 30 }).map((text) =>
    text.replace(/^[ \t]+|[ \t]+$/g, ''),
  ),
)
const name = oneof(
  constantFrom('Content-Type', 'Set-Cookie', 'set-cookie', 'ETag', 'Keep-Alive', 'Upgrade', 'X-A', 'Date'),
  // In front, so that no name with a meaning of its own comes out.
  token.map((text) => `X-${text}`),
)
const line: Arbitrary<Line> = record({ name, value, before: blank, after: constantFrom('', '', ' ', '\t') })
const lines = array(line, { maxLength: 6 })
const reason = oneof(
  constantFrom('', 'OK', 'Not Found', ' '),
  string({ unit: constantFrom(...VISIBLE), maxLength: 12 }),
)
const status = oneof(constantFrom(200, 200, 404, 500, 204, 304), integer({ min: 200, max: 599 }))
const bytes = oneof(uint8Array({ maxLength: 60 }), constantFrom(new Uint8Array(0))).map((body) =>
  Buffer.from(body).toString('latin1'),
)
const connection = option(
  constantFrom('close', 'keep-alive', 'Close', 'foo, close', 'keep-alive, close', 'close ,x'),
)

function plain(text: string, field: string): Line {
  return { name: field, value: text, before: ' ', after: '' }
}

function write(list: readonly Line[]): string {
  return list.map((it) => `${it.name}:${it.before}${it.value}${it.after}\r\n`).join('')
}

function flat(list: readonly Line[]): string[] {
  return list.flatMap((it) => [it.name, it.value])
}

const quoted = string({ unit: constantFrom(...'ab ;,=\t', '\\"', '\\\\'), maxLength: 6 }).map(
  (text) => `"${text}"`,
)
const extension = tuple(token, option(oneof(token, quoted))).map(([key, text]) =>
  text === null ? `;${key}` : `;${key}=${text}`,
)
const chunk = record({
  data: uint8Array({ minLength: 1, maxLength: 40 }).map((data) => Buffer.from(data).toString('latin1')),
  zeros: constantFrom('', '', '', '0', '000'),
  isUpper: boolean(),
  extensions: array(extension, { maxLength: 2 }).map((list) => list.join('')),
})
const chunkedBody = record({
  chunks: array(chunk, { maxLength: 5 }),
  last: constantFrom('0', '0', '0', '000'),
  lastExtension: oneof(constant(''), constant(''), extension),
  trailers: oneof(constant([]), lines),
}).map(({ chunks, last, lastExtension, trailers }) => {
  const wire = chunks.map(({ data, zeros, isUpper, extensions }) => {
    const size = data.length.toString(16)
    return `${zeros}${isUpper ? size.toUpperCase() : size}${extensions}\r\n${data}\r\n`
  })
  return {
    text: chunks.map(({ data }) => data).join(''),
    wire: `${wire.join('')}${last}${lastExtension}\r\n${write(trailers)}\r\n`,
    trailers,
  }
})

const length = tuple(bytes, constantFrom('', '', '0', '00')).map(([text, zeros]) => ({
  framing: [plain(`${zeros}${text.length}`, 'Content-Length')],
  body: { text, wire: text, trailers: [] },
  isClose: false,
}))
const chunked = tuple(chunkedBody, constantFrom('chunked', 'Chunked', 'CHUNKED')).map(([body, coding]) => ({
  framing: [plain(coding, 'Transfer-Encoding')],
  body,
  isClose: false,
}))
const untilClose = bytes.map((text) => ({
  framing: [],
  body: { text, wire: text, trailers: [] },
  isClose: true,
}))
/** A response without a body may tell of the one that a GET would have had. */
const headOnly = constantFrom([], [plain('1234', 'content-length')], [plain('chunked', 'transfer-encoding')])

const message: Arbitrary<Message> = record({
  asked: constantFrom<Asked>(
    { method: 'GET', isUpgrade: false },
    { method: 'GET', isUpgrade: false },
    { method: 'POST', isUpgrade: false },
    { method: 'HEAD', isUpgrade: false },
    { method: 'GET', isUpgrade: true },
  ),
  status,
  reason,
  lines,
  framed: oneof(length, chunked, untilClose),
  headOnly,
  connection,
}).map(({ framed, headOnly: framing, connection: hop, ...rest }) => {
  const hasBody = rest.asked.method !== 'HEAD' && rest.status !== 204 && rest.status !== 304
  const shape = hasBody ? framed : { framing, body: { text: '', wire: '', trailers: [] }, isClose: false }
  const extra = hop === null ? [] : [plain(hop, 'Connection')]
  return {
    ...rest,
    ...shape,
    framing: [...shape.framing, ...extra],
    isClose: shape.isClose || /close/i.test(hop ?? ''),
  }
})

const inform = record({ status: constantFrom(100, 102, 103, 199), reason, lines })

function statusLine(code: number, text: string): string {
  return `HTTP/1.1 ${code}${text === '' ? '' : ` ${text}`}\r\n`
}

/** A whole response, informational ones before it included. */
export const response: Arbitrary<Sample> = tuple(array(inform, { maxLength: 2 }), message).map(
  ([informs, it]) => {
    const fields = [...it.lines, ...it.framing]
    const before = informs
      .map((one) => `${statusLine(one.status, one.reason)}${write(one.lines)}\r\n`)
      .join('')
    return {
      asked: it.asked,
      text: `${before}${statusLine(it.status, it.reason)}${write(fields)}\r\n${it.body.wire}`,
      expected: {
        ...emptyOutcome(),
        informs: informs.map((one) => ({ status: one.status, headers: flat(one.lines) })),
        head: { status: it.status, reason: it.reason, headers: flat(fields) },
        keepAlive: !it.isClose,
        body: it.body.text,
        trailers: flat(it.body.trailers),
        isComplete: true,
      },
    }
  },
)

/** A server that agrees to a WebSocket, and its first bytes. */
export const upgrade: Arbitrary<Sample> = record({ lines, reason, rest: bytes }).map((it) => {
  const own = [
    plain('websocket', 'Upgrade'),
    plain('Upgrade', 'Connection'),
    plain('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=', 'Sec-WebSocket-Accept'),
  ]
  const others = it.lines.filter((one) => one.name !== 'Upgrade')
  const fields = [...others, ...own]
  return {
    asked: { method: 'GET', isUpgrade: true },
    text: `${statusLine(101, it.reason)}${write(fields)}\r\n${it.rest}`,
    expected: {
      ...emptyOutcome(),
      isComplete: true,
      upgrade: { head: { status: 101, reason: it.reason, headers: flat(fields) }, rest: it.rest },
    },
  }
})
