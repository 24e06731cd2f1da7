/** A strict, small HTTP/1.1 response parser (RFC 9112): what Node's own parser refuses, this one refuses too. */

import { ChunkedDecoder } from './chunked-decoder.ts'
import { RelayError, upstreamInvalid } from './errors.ts'
import { type FieldLines, hasToken, joinFields, parseFieldLines } from './field-lines.ts'

/** RFC 9112 section 6.3: how the end of a response body is found. */
export type Framing = 'none' | 'length' | 'chunked' | 'close'

export interface ResponseHead {
  readonly status: number
  readonly reason: string
  /** Names as the VM wrote them and values, alternating. */
  readonly headers: readonly string[]
  /** The names in lower case, one per pair of `headers`. */
  readonly names: readonly string[]
  readonly framing: Framing
  /** Bytes of body, for the framing `length`. */
  readonly length: number
  /** False when the connection must not be used again. */
  readonly keepAlive: boolean
}

/** Told in this order: any number of `inform`, then `head`, `data` …, `end`; or `upgraded` in place of `head`. */
export interface ResponseSink {
  inform(head: ResponseHead): void
  head(head: ResponseHead): void
  /** `chunk` is only valid until the call returns, here and in `end`. */
  data(chunk: Buffer): void
  /** `chunk` is the last piece of the body, when one came with the end. */
  end(chunk: Buffer | undefined, trailers: readonly string[]): void
  /** After a 101: `rest` are the first bytes of the other protocol. */
  upgraded(head: ResponseHead, rest: Buffer): void
}

/** What of the request decides how its response is read (RFC 9112 section 6.3). */
export interface ResponseContext {
  readonly method: string
  readonly isUpgrade: boolean
}

const MAX_HEAD_BYTES = 65_536
/** An upstream that informs for ever would otherwise never be timed out. */
const MAX_INFORMS = 64
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/
/** Allowed by RFC 9110 section 5.5, but Node then reads until the end of the stream instead of chunks. */
const TAB_BEHIND_CODING = /\ntransfer-encoding:[^\r]*\t(?:\r|$)/i
const NO_HEADERS: readonly string[] = []
const EMPTY = Buffer.alloc(0)

const nothing = () => {}
const NOBODY: ResponseSink = {
  inform: nothing,
  head: nothing,
  data: nothing,
  end: nothing,
  upgraded: nothing,
}

type State = 'head' | 'length' | 'chunked' | 'close' | 'done'

export class ResponseParser {
  #state: State = 'done'
  #pending: Buffer = EMPTY
  #remaining = 0
  #informs = 0
  #context: ResponseContext = { method: 'GET', isUpgrade: false }
  #chunked: ChunkedDecoder | undefined
  #sink: ResponseSink = NOBODY

  /** True between responses, with no byte left over: the only state in which a connection may be used again. */
  get isIdle(): boolean {
    return this.#state === 'done' && this.#pending.length === 0
  }

  /** True once anything of the expected response came: from then on a request must not be sent again. */
  get hasStarted(): boolean {
    return this.#state !== 'head' || this.#pending.length > 0 || this.#informs > 0
  }

  /** Gets ready for the response to one request. */
  expect(context: ResponseContext, sink: ResponseSink): void {
    this.#context = context
    this.#sink = sink
    this.#state = 'head'
    this.#informs = 0
  }

  /** @throws RelayError upstream_invalid, upstream_header_too_large, upstream_upgrade */
  feed(chunk: Buffer): void {
    let rest: Buffer | undefined = chunk
    while (rest !== undefined && rest.length > 0) rest = this.#step(rest)
  }

  /** The upstream closed its side. @throws RelayError upstream_incomplete, upstream_reset */
  finish(): void {
    if (this.#state === 'close') {
      this.#end(undefined, NO_HEADERS)
    } else if (!this.hasStarted) {
      throw new RelayError('upstream_reset')
    } else if (this.#state !== 'done') {
      throw new RelayError('upstream_incomplete')
    }
  }

  /** Reads what the state wants from `chunk` and returns what is left, undefined when it must wait for more. */
  #step(chunk: Buffer): Buffer | undefined {
    switch (this.#state) {
      case 'head':
        return this.#readHead(chunk)
      case 'length':
        return this.#readLength(chunk)
      case 'chunked':
        return this.#readChunked(chunk)
      case 'close':
        this.#sink.data(chunk)
        return undefined
      case 'done':
        throw upstreamInvalid('bytes after the end of the response')
    }
  }

  #readHead(chunk: Buffer): Buffer | undefined {
    const bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    const end = bytes.indexOf('\r\n\r\n')
    if (end < 0 || end > MAX_HEAD_BYTES) {
      checkPartialHead(bytes)
      this.#pending = bytes === chunk ? Buffer.from(chunk) : bytes
      return undefined
    }
    this.#pending = EMPTY
    const head = parseHead(bytes.toString('latin1', 0, end), this.#context)
    return this.#accept(head, bytes.subarray(end + 4))
  }

  #accept(head: ResponseHead, rest: Buffer): Buffer | undefined {
    if (head.status === 101) return this.#upgrade(head, rest)
    if (head.status < 200) {
      // RFC 9110 section 15.2: there is no 1xx in HTTP/1.0, and a response must follow it here.
      if (!head.keepAlive) throw upstreamInvalid('informational response that closes the connection')
      this.#informs += 1
      if (this.#informs > MAX_INFORMS) throw upstreamInvalid('too many informational responses')
      this.#sink.inform(head)
      return rest
    }
    this.#state = head.framing === 'none' ? 'done' : head.framing
    this.#remaining = head.length
    if (head.framing === 'chunked') this.#chunked = new ChunkedDecoder()
    this.#sink.head(head)
    if (head.framing === 'none') this.#sink.end(undefined, NO_HEADERS)
    return rest
  }

  #upgrade(head: ResponseHead, rest: Buffer): undefined {
    if (!this.#context.isUpgrade)
      throw new RelayError('upstream_upgrade', { detail: '101 without a request for it' })
    this.#state = 'done'
    this.#sink.upgraded(head, rest)
    return undefined
  }

  #readLength(chunk: Buffer): Buffer | undefined {
    if (chunk.length < this.#remaining) {
      this.#remaining -= chunk.length
      this.#sink.data(chunk)
      return undefined
    }
    const last = chunk.length === this.#remaining ? chunk : chunk.subarray(0, this.#remaining)
    const rest = chunk.subarray(this.#remaining)
    this.#end(last, NO_HEADERS)
    return rest
  }

  #readChunked(chunk: Buffer): Buffer | undefined {
    const decoder = this.#chunked
    if (decoder === undefined) throw upstreamInvalid('chunk without a decoder')
    const rest = decoder.feed(chunk, (data) => this.#sink.data(data))
    if (rest === undefined) return undefined
    this.#chunked = undefined
    this.#end(undefined, decoder.trailers)
    return rest
  }

  #end(last: Buffer | undefined, trailers: readonly string[]): void {
    this.#state = 'done'
    this.#sink.end(last, trailers)
  }
}

/** @throws RelayError upstream_invalid */
function parseHead(text: string, context: ResponseContext): ResponseHead {
  const lineEnd = text.indexOf('\r\n')
  const { status, reason, isHttp11 } = parseStatusLine(lineEnd < 0 ? text : text.slice(0, lineEnd))
  const fields = lineEnd < 0 ? { headers: [], names: [] } : parseFieldLines(text, lineEnd + 2)
  if (fields.names.includes('transfer-encoding') && TAB_BEHIND_CODING.test(text))
    throw upstreamInvalid('tab behind the transfer coding')
  return { status, reason, ...fields, ...frame(fields, status, isHttp11, context) }
}

interface StatusLine {
  readonly status: number
  readonly reason: string
  readonly isHttp11: boolean
}

/** What nearly every answer says: comparing costs 10 ns, matching 150. */
const OK_LINE = 'HTTP/1.1 200 OK'
const OK: StatusLine = { status: 200, reason: 'OK', isHttp11: true }

/** RFC 9112 section 4. @throws RelayError upstream_invalid */
function parseStatusLine(line: string): StatusLine {
  if (line === OK_LINE) return OK
  const match = STATUS_LINE.exec(line)
  if (match === null) throw upstreamInvalid('status line')
  const status = Number(match[2])
  if (status > 599) throw upstreamInvalid(`status ${status}`)
  return { status, reason: match[3] ?? '', isHttp11: match[1] === '1' }
}

/** RFC 9112 section 6.3, refusing every case that section calls faulty. */
function frame(fields: FieldLines, status: number, isHttp11: boolean, context: ResponseContext) {
  const length = findOnly(fields, 'content-length')
  const coding = findOnly(fields, 'transfer-encoding')
  const bytes = length === undefined ? 0 : parseLength(length)
  if (coding !== undefined) checkCoding(coding, length, isHttp11)
  const keepAlive = isHttp11 && !asksToClose(fields)
  if (status < 200 || status === 204 || status === 304 || context.method === 'HEAD') {
    return { framing: 'none' as const, length: 0, keepAlive }
  }
  if (coding !== undefined) return { framing: 'chunked' as const, length: 0, keepAlive }
  if (length === undefined) return { framing: 'close' as const, length: 0, keepAlive: false }
  return { framing: bytes === 0 ? ('none' as const) : ('length' as const), length: bytes, keepAlive }
}

/** Node takes Proxy-Connection for Connection, and so do VMs that run on it. */
function asksToClose(fields: FieldLines): boolean {
  return (
    hasToken(joinFields(fields, 'connection'), 'close') ||
    hasToken(joinFields(fields, 'proxy-connection'), 'close')
  )
}

function checkCoding(coding: string, length: string | undefined, isHttp11: boolean): void {
  if (coding.toLowerCase() !== 'chunked') throw upstreamInvalid(`transfer coding ${coding}`)
  if (length !== undefined) throw upstreamInvalid('both Content-Length and Transfer-Encoding')
  if (!isHttp11) throw upstreamInvalid('Transfer-Encoding in HTTP/1.0')
}

/** @throws RelayError upstream_invalid when the field occurs twice: two lengths are two ways to read a body */
function findOnly({ headers, names }: FieldLines, name: string): string | undefined {
  const at = names.indexOf(name)
  if (at < 0) return undefined
  if (names.indexOf(name, at + 1) >= 0) throw upstreamInvalid(`${name} twice`)
  return headers[at * 2 + 1]
}

function parseLength(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw upstreamInvalid('Content-Length')
  return Number(text)
}

/** A head that can no longer become valid is refused at once, not when a time limit runs out. */
function checkPartialHead(bytes: Buffer): void {
  if (bytes.length > MAX_HEAD_BYTES + 3) throw new RelayError('upstream_header_too_large')
  const start = bytes.toString('latin1', 0, Math.min(bytes.length, 9))
  if (!'HTTP/1.1 '.startsWith(start) && !'HTTP/1.0 '.startsWith(start)) throw upstreamInvalid('not HTTP/1')
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) {
    if (bytes[at - 1] !== 13) throw upstreamInvalid('bare LF')
  }
}
