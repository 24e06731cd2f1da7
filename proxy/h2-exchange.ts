/** An exchange over HTTP/2, on Node's core streams (its compatibility layer costs 7 µs more per request). */

import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import { addAbortSignal, type Duplex, type Readable } from 'node:stream'
import { NO_AUTHORITY } from './authority.ts'
import type { ClientConnection } from './client-connection.ts'
import type {
  BodyFraming,
  ClientTunnel,
  EndableTunnel,
  Exchange,
  ExchangeObserver,
  StartOptions,
} from './exchange.ts'
import { createRecord, type ExchangeRecord } from './exchange-record.ts'
import { type RequestFields, readRequestFields } from './request-fields.ts'
import { requestIdFor } from './request-id.ts'

export interface H2Request {
  readonly stream: ServerHttp2Stream
  readonly headers: IncomingHttpHeaders & { readonly ':protocol'?: string | undefined }
  readonly rawHeaders: readonly string[]
  readonly client: ClientConnection
}

const NO_BYTES = Buffer.alloc(0)
const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = constants

export class H2Exchange implements Exchange {
  slot = -1
  readonly id: string
  readonly version = '2'
  readonly method: string
  target: string
  authority = NO_AUTHORITY
  readonly rawHeaders: readonly string[]
  readonly fields: RequestFields
  readonly client: ClientConnection
  readonly bodyFraming: BodyFraming
  readonly expectsContinue: boolean
  readonly isUpgrade: boolean
  readonly isConnect: boolean
  readonly record: ExchangeRecord
  readonly stream: Duplex & ServerHttp2Stream
  observer: ExchangeObserver | undefined
  tunnel: EndableTunnel | undefined
  #trailers: readonly string[] = []
  #isHeadOnly = false
  #mayHaveTrailers = false
  #isTunnel = false

  constructor({ stream, headers, rawHeaders, client }: H2Request) {
    this.stream = stream
    this.client = client
    this.method = headers[':method'] ?? ''
    this.target = headers[':path'] ?? '*'
    this.rawHeaders = rawHeaders
    this.fields = readRequestFields(rawHeaders)
    this.isUpgrade = this.method === 'CONNECT' && headers[':protocol'] === 'websocket'
    this.isConnect = this.method === 'CONNECT' && headers[':protocol'] === undefined
    this.bodyFraming = stream.endAfterHeaders || this.isUpgrade ? undefined : framingOf(this.fields)
    this.expectsContinue =
      this.bodyFraming !== undefined && this.fields.expect.toLowerCase() === '100-continue'
    this.id = requestIdFor(client, rawHeaders)
    this.record = createRecord()
    if (this.bodyFraming !== undefined)
      stream.once('trailers', (_headers, _flags, raw) => this.#keepTrailers(raw))
  }

  get body(): Readable {
    return this.stream
  }

  get isBodyComplete(): boolean {
    return this.bodyFraming === undefined || (this.stream.readableEnded && !this.#isCut())
  }

  get unsentBytes(): number {
    return this.stream.bufferSize
  }

  get headSent(): boolean {
    return this.stream.headersSent
  }

  trailers(): readonly string[] {
    return this.#trailers
  }

  sendContinue(): void {
    if (this.#isOpen()) this.stream.additionalHeaders({ ':status': 100 })
  }

  inform(status: number, headers: readonly string[]): void {
    if (this.#isOpen() && !this.headSent)
      this.stream.additionalHeaders({ ':status': status, ...toObject(headers) })
  }

  start(status: number, _reason: string, headers: readonly string[], options: StartOptions): void {
    this.record.status = status
    if (!this.#isOpen()) return
    // Node ends the stream with the head of a 205, which has no content (RFC 9110 section 15.3.6).
    this.#isHeadOnly = !options.hasBody || status === 205
    this.#mayHaveTrailers = options.mayHaveTrailers
    const respondOptions = { endStream: this.#isHeadOnly, waitForTrailers: options.mayHaveTrailers }
    this.stream.respond([':status', String(status), ...headers], respondOptions)
  }

  /** Heads are never held back over HTTP/2. */
  flushHead(): void {}

  /** GOAWAY says it for the whole session. */
  endConnection(): void {}

  /** Frames have lengths of their own, so one bad stream says nothing of the next. */
  distrustConnection(): void {}

  write(chunk: Buffer): boolean {
    if (this.#isHeadOnly) return true
    this.record.bytesOut += chunk.length
    if (this.stream.write(Buffer.from(chunk))) return true
    this.stream.once('drain', () => this.observer?.onDrain())
    return false
  }

  end(chunk?: Buffer, trailers: readonly string[] = []): void {
    if (!this.#isHeadOnly) {
      if (chunk !== undefined) this.record.bytesOut += chunk.length
      if (this.#mayHaveTrailers) this.stream.once('wantTrailers', () => this.#sendTrailers(trailers))
      if (chunk === undefined) this.stream.end()
      else this.stream.end(Buffer.from(chunk))
    }
    if (!this.isBodyComplete) this.#stopBody()
  }

  openTunnel(headers: readonly string[]): ClientTunnel {
    this.record.status = 200
    this.#isTunnel = true
    this.stream.respond([':status', '200', ...headers], { waitForTrailers: true })
    this.stream.once('wantTrailers', () => this.#sendTrailers([]))
    return { stream: this.stream, early: NO_BYTES }
  }

  /** Not `close`: that ends the writable side first, and END_STREAM makes a cut answer look complete. */
  abort(): void {
    if (this.stream.destroyed) return
    // RFC 8441 section 5: the reset of a tunnel is CANCEL. Its writable side waits for trailers, so `close` is safe.
    if (this.#isTunnel) this.stream.close(NGHTTP2_CANCEL)
    // An abort is the one error of which Node makes CANCEL.
    else if (this.record.closeReason === 'access_ended') addAbortSignal(AbortSignal.abort(), this.stream)
    else this.stream.destroy(new Error('answer cut short'))
  }

  /** Node ends the readable side of a stream that the client reset with CANCEL, as if the body were whole. */
  #isCut(): boolean {
    return this.stream.aborted || (this.stream.rstCode ?? NGHTTP2_NO_ERROR) !== NGHTTP2_NO_ERROR
  }

  /** Called by an event, where a throw would end the process: the client may have reset the stream meanwhile. */
  #sendTrailers(trailers: readonly string[]): void {
    try {
      this.stream.sendTrailers(toObject(trailers))
    } catch {
      this.abort()
    }
  }

  /** The stream stays with its connection until it is closed, so that an unread end of an answer is noticed. */
  onSettled(): void {}

  #isOpen(): boolean {
    return !this.stream.destroyed && !this.stream.closed
  }

  /** RFC 9113 section 8.1: after a complete answer, NO_ERROR tells the client to stop sending the body. */
  #stopBody(): void {
    this.stream.resume()
    const close = () => {
      if (!this.stream.destroyed && !this.isBodyComplete) this.stream.close(NGHTTP2_NO_ERROR)
    }
    if (this.stream.writableFinished) close()
    else this.stream.once('finish', close)
  }

  #keepTrailers(raw: readonly string[] | undefined): void {
    this.#trailers = raw ?? []
  }
}

function framingOf({ length }: RequestFields): BodyFraming {
  const bytes = Number(length)
  return length !== '' && bytes > 0 ? bytes : 'chunked'
}

/** Repeated names become arrays, as Node's HTTP/2 wants them. */
function toObject(fields: readonly string[]): Record<string, string | string[]> {
  const object: Record<string, string | string[]> = Object.create(null)
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const name = fields[at] ?? ''
    const value = fields[at + 1] ?? ''
    const before = object[name]
    object[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value]
  }
  return object
}
