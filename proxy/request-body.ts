/** Pumps a request's body to the upstream: back-pressure, Expect, trailers, and the clock for slow clients. */

import { RelayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { toLines } from './field-lines.ts'
import { trailerFields } from './response-fields.ts'
import type { UpstreamConnection } from './upstream-connection.ts'

export interface RequestBodySettings {
  readonly times: { readonly bodyIdleMs: number }
  readonly bodyBytesPerSecond: number
}

/** RFC 9110 section 10.1.1: a client that gets no 100 sends anyway after a while; so does the edge in its name. */
const CONTINUE_WAIT_MS = 1_000
/** A slow start is no attack: the rate is judged after this long. */
const RATE_GRACE_MS = 30_000

type State = 'unread' | 'flowing' | 'ended'

export class RequestBody {
  readonly #exchange: Exchange
  readonly #settings: RequestBodySettings
  #connection: UpstreamConnection | undefined
  #state: State = 'unread'
  #isUpstreamFull = false
  #stalledAt = 0
  #continueTimer: NodeJS.Timeout | undefined
  #startedAt = 0
  /** Body bytes taken from the client: once above 0 the request cannot be sent a second time. */
  bytes = 0
  /** `performance.now()` of the last byte. */
  progressAt = 0

  constructor(exchange: Exchange, settings: RequestBodySettings) {
    this.#exchange = exchange
    this.#settings = settings
    if (exchange.bodyFraming === undefined) this.#state = 'ended'
  }

  /** True once the upstream has the whole request. */
  get isSent(): boolean {
    return this.#state === 'ended'
  }

  /** Sends the body to this connection from now on. */
  connect(connection: UpstreamConnection): void {
    if (this.#state === 'ended') return
    this.#connection = connection
    this.#endStall()
    if (!this.#exchange.expectsContinue) this.#read()
    else this.#continueTimer ??= setTimeout(() => this.allow(), CONTINUE_WAIT_MS)
  }

  /** The connection is lost; what the client sends waits. */
  disconnect(): void {
    this.#connection = undefined
    if (this.#state === 'flowing') this.#exchange.body.pause()
  }

  /** The VM wants the body: the client is told so, once. */
  allow(): void {
    if (this.#continueTimer === undefined) return
    clearTimeout(this.#continueTimer)
    this.#continueTimer = undefined
    this.#exchange.sendContinue()
    this.#read()
  }

  /** The upstream takes bytes again. */
  resume(): void {
    this.#endStall()
    if (this.#state === 'flowing') this.#exchange.body.resume()
  }

  stop(): void {
    clearTimeout(this.#continueTimer)
    this.#continueTimer = undefined
    this.#connection = undefined
    if (this.#state === 'ended') return
    this.#exchange.body.off('data', this.#onData).off('end', this.#onEnd)
  }

  /** What the client does wrong, when the VM waits for its body. */
  findFault(now: number): RelayError | undefined {
    if (this.#state !== 'flowing' || this.#isUpstreamFull) return undefined
    const { times, bodyBytesPerSecond } = this.#settings
    const elapsedMs = now - this.#startedAt
    const isTooSlow = elapsedMs > RATE_GRACE_MS && (this.bytes / elapsedMs) * 1_000 < bodyBytesPerSecond
    return isTooSlow || now - this.progressAt > times.bodyIdleMs
      ? new RelayError('limit_slow_body')
      : undefined
  }

  /** The time in which the upstream took nothing is not the client's. */
  #endStall(): void {
    if (!this.#isUpstreamFull) return
    this.#isUpstreamFull = false
    this.progressAt = performance.now()
    this.#startedAt += this.progressAt - this.#stalledAt
  }

  #read(): void {
    const { body } = this.#exchange
    if (this.#state === 'unread') {
      this.#state = 'flowing'
      this.#startedAt = performance.now()
      this.progressAt = this.#startedAt
      body.on('data', this.#onData)
      body.on('end', this.#onEnd)
    }
    body.resume()
  }

  readonly #onData = (chunk: Buffer): void => {
    const { body, record } = this.#exchange
    const connection = this.#connection
    if (connection === undefined) {
      body.pause()
      body.unshift(chunk)
      return
    }
    this.bytes += chunk.length
    record.bytesIn += chunk.length
    this.progressAt = performance.now()
    if (this.#send(connection, chunk)) return
    this.#isUpstreamFull = true
    this.#stalledAt = this.progressAt
    body.pause()
  }

  #send(connection: UpstreamConnection, chunk: Buffer): boolean {
    if (this.#exchange.bodyFraming !== 'chunked') return connection.write(chunk)
    connection.cork()
    connection.write(`${chunk.length.toString(16)}\r\n`)
    connection.write(chunk)
    const isRoomLeft = connection.write('\r\n')
    connection.uncork()
    return isRoomLeft
  }

  readonly #onEnd = (): void => {
    // A body that broke off must not reach the VM as a whole one; 'close' tells the relay.
    if (!this.#exchange.isBodyComplete) return
    this.#state = 'ended'
    if (this.#exchange.bodyFraming === 'chunked')
      this.#connection?.write(lastChunk(this.#exchange.trailers()))
  }
}

/** RFC 9112 section 7.1.2. */
function lastChunk(trailers: readonly string[]): string {
  return `0\r\n${toLines(trailerFields(trailers))}\r\n`
}
