/** Relays one request over a pooled connection and its response back, with back-pressure, time limits and safe retries. */

import type { Deadlines, Watched } from '../lib/deadlines.ts'
import type { LandfallError } from '../lib/errors.ts'
import { fieldBytes, headBytes } from './egress-meter.ts'
import { RelayError } from './errors.ts'
import type { Exchange, ExchangeObserver } from './exchange.ts'
import { recordFault } from './exchange-record.ts'
import { RequestBody } from './request-body.ts'
import { informFields, responseFields, trailerFields } from './response-fields.ts'
import type { ResponseHead } from './response-parser.ts'
import { NOTHING_SAID, openTunnel, type TunnelDeps, type TunnelEnds } from './tunnel.ts'
import type { RelayRoute } from './upstream.ts'
import type { ConnectionUser, UpstreamConnection } from './upstream-connection.ts'
import type { UpstreamPool } from './upstream-pool.ts'
import { checkHandshake } from './websocket-handshake.ts'

export interface RelayTimes {
  readonly connectMs: number
  readonly firstByteMs: number
  readonly idleMs: number
  readonly bodyIdleMs: number
  readonly tunnelIdleMs: number
}

export interface RelayDeps extends TunnelDeps {
  readonly pool: UpstreamPool
  readonly deadlines: Deadlines
  readonly times: RelayTimes
  readonly edgeName: string
  /** Request body bytes per second that a client must reach while the VM waits for it. */
  readonly bodyBytesPerSecond: number
  /** Answers a request of which no byte of a response was sent. */
  readonly refuse: (exchange: Exchange, error: unknown) => void
  /** Called once when the exchange is over: log line and metrics. */
  readonly settle: (exchange: Exchange) => void
}

export interface RelayJob {
  readonly exchange: Exchange
  readonly route: RelayRoute
  /** The request head for the VM, as `requestHead` wrote it. */
  readonly head: string
  /** What the VM must answer to the WebSocket key; undefined for anything but an upgrade. */
  readonly acceptKey?: string
}

/** RFC 9110 section 9.2.2. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])
const MAX_CONNECT_ATTEMPTS = 3
const CONNECT_RETRY_MS = 50

type Phase = 'connecting' | 'waiting' | 'answering' | 'over'

export class Relay implements ConnectionUser, ExchangeObserver, Watched {
  slot = -1
  readonly #job: RelayJob
  readonly #deps: RelayDeps
  readonly #exchange: Exchange
  readonly #body: RequestBody
  readonly #startedAt: number
  #phase: Phase = 'connecting'
  #connection: UpstreamConnection | undefined
  #attempts = 0
  #progressAt: number
  #isClientFull = false
  #retryTimer: NodeJS.Timeout | undefined
  #response: ResponseHead | undefined
  #isHeadHeld = false

  constructor(job: RelayJob, deps: RelayDeps) {
    this.#job = job
    this.#deps = deps
    this.#exchange = job.exchange
    this.#startedAt = performance.now()
    this.#progressAt = this.#startedAt
    this.#body = new RequestBody(job.exchange, deps)
  }

  /** @throws RelayError when no connection can be had; everything later goes through `refuse` */
  start(): void {
    this.#connect({ isFresh: false })
    this.#exchange.observer = this
    this.#deps.deadlines.add(this)
  }

  onConnected(): void {
    this.#exchange.record.upstreamConnectMs = performance.now() - this.#startedAt
    this.#send()
  }

  /** A head that came alone, as of an event stream, must not wait for the first byte of the body. */
  onReadEnd(): void {
    if (!this.#isHeadHeld) return
    this.#isHeadHeld = false
    this.#exchange.flushHead()
  }

  onWritable(): void {
    this.#progressAt = performance.now()
    this.#body.resume()
  }

  onFailed(error: RelayError): void {
    this.#connection = undefined
    this.#body.disconnect()
    if (this.#phase === 'over') return
    if (this.#phase === 'answering') this.#cut(error)
    else if (!this.#retry(error)) this.#refuse(error)
  }

  inform(head: ResponseHead): void {
    this.#progressAt = performance.now()
    if (head.status === 100) {
      this.#body.allow()
      return
    }
    const fields = informFields(head, this.#exchange)
    this.#exchange.inform(head.status, fields)
    if (this.#exchange.version !== '1.0') this.#count(0, headBytes(head.reason, fields))
  }

  head(head: ResponseHead): void {
    this.#response = head
    this.#progressAt = performance.now()
    this.#exchange.record.upstreamFirstByteMs = this.#progressAt - this.#startedAt
    const fields = responseFields(head, this.#exchange, this.#deps.edgeName)
    const mayHaveTrailers = head.framing === 'chunked'
    this.#exchange.start(head.status, head.reason, fields, {
      mayHaveTrailers,
      hasBody: head.framing !== 'none',
    })
    this.#count(1, headBytes(head.reason, fields))
    this.#phase = 'answering'
    this.#isHeadHeld = true
  }

  data(chunk: Buffer): void {
    this.#progressAt = performance.now()
    this.#isHeadHeld = false
    this.#count(0, chunk.length)
    if (this.#exchange.write(chunk)) return
    this.#isClientFull = true
    this.#connection?.pause()
  }

  end(chunk: Buffer | undefined, trailers: readonly string[]): void {
    this.#giveBack()
    this.#over()
    const fields = trailers.length === 0 ? trailers : trailerFields(trailers)
    this.#count(0, (chunk?.length ?? 0) + fieldBytes(fields))
    this.#exchange.end(chunk, fields)
    this.#deps.settle(this.#exchange)
  }

  upgraded(head: ResponseHead, rest: Buffer): void {
    try {
      checkHandshake(head, this.#job.acceptKey)
    } catch (error) {
      this.#connection?.fail(error as RelayError)
      return
    }
    this.#join({ head, rest })
  }

  onDrain(): void {
    this.#isClientFull = false
    this.#progressAt = performance.now()
    this.#connection?.resume()
  }

  onFault(error: LandfallError): void {
    this.#connection?.destroy()
    if (this.#exchange.headSent) this.#cut(error)
    else this.#refuse(error)
  }

  onClientGone(): void {
    this.#exchange.record.closeReason = 'client_gone'
    this.#connection?.destroy()
    this.#over()
    this.#deps.settle(this.#exchange)
  }

  checkDeadlines(now: number): void {
    const { times } = this.#deps
    if (this.#phase === 'connecting') {
      if (now - this.#startedAt > times.connectMs) this.#connection?.fail(new RelayError('connect_timeout'))
    } else if (this.#phase === 'waiting') {
      const clientFault = this.#body.findFault(now)
      if (clientFault !== undefined) this.#connection?.fail(clientFault)
      else if (now - this.#lastProgress() > times.firstByteMs)
        this.#connection?.fail(new RelayError('upstream_timeout'))
    } else if (now - this.#lastProgress() > times.idleMs) {
      this.#connection?.fail(new RelayError('upstream_idle'))
    }
  }

  #connect(options: { readonly isFresh: boolean }): void {
    this.#attempts += 1
    this.#phase = 'connecting'
    this.#connection = this.#deps.pool.acquire(this.#job.route, this, {
      ...options,
      isRaw: this.#exchange.isUpgrade || this.#exchange.isConnect,
    })
    if (!this.#connection.isConnecting) this.#send()
  }

  #join(said: Pick<TunnelEnds, 'head' | 'rest'>): void {
    const upstream = this.#connection?.detach()
    if (upstream === undefined) return
    this.#over()
    openTunnel({ exchange: this.#exchange, upstream, ...said }, this.#deps)
  }

  #send(): void {
    const connection = this.#connection
    if (connection === undefined) return
    if (this.#exchange.isConnect) {
      this.#join(NOTHING_SAID)
      return
    }
    this.#phase = 'waiting'
    this.#progressAt = performance.now()
    connection.send(this.#job.head, this.#exchange)
    this.#exchange.record.upstreamReused = connection.isReused
    this.#body.connect(connection)
  }

  /** Waiting for a body is the client's silence, and the body keeps its own clock. */
  #lastProgress(): number {
    return Math.max(this.#progressAt, this.#body.progressAt)
  }

  /** True when a second attempt is under way: it must be impossible that the VM acted on the first. */
  #retry(error: RelayError): boolean {
    if (this.#phase === 'connecting') return this.#retryConnect(error)
    const { exchange } = this.#job
    const mayRepeat = exchange.bodyFraming !== undefined || IDEMPOTENT.has(exchange.method)
    const isSafe = error.code === 'upstream_reset' && this.#body.bytes === 0 && mayRepeat
    if (!isSafe || exchange.record.upstreamReused !== true) return false
    exchange.record.retries += 1
    this.#tryAgain()
    return true
  }

  #retryConnect(error: RelayError): boolean {
    if (error.code === 'connect_timeout' || this.#attempts >= MAX_CONNECT_ATTEMPTS) return false
    this.#exchange.record.retries += 1
    this.#retryTimer = setTimeout(() => this.#tryAgain(), CONNECT_RETRY_MS * this.#attempts)
    return true
  }

  #tryAgain(): void {
    try {
      this.#connect({ isFresh: true })
    } catch (error) {
      this.#refuse(error)
    }
  }

  #count(requests: number, bytes: number): void {
    const { pool } = this.#job.route
    if (pool !== undefined) this.#deps.meter.add(pool, requests, bytes)
  }

  #giveBack(): void {
    const connection = this.#connection
    const response = this.#response
    if (connection === undefined || response === undefined) return
    if (response.keepAlive && this.#body.isSent) connection.release(response)
    else connection.destroy()
  }

  #refuse(error: unknown): void {
    this.#over()
    this.#deps.refuse(this.#exchange, error)
  }

  #cut(error: LandfallError): void {
    const { record } = this.#exchange
    record.closeReason ??=
      this.#isClientFull && error.code === 'upstream_idle' ? 'client_stalled' : error.code
    recordFault(record, error)
    this.#over()
    this.#exchange.abort()
    this.#deps.settle(this.#exchange)
  }

  #over(): void {
    this.#phase = 'over'
    this.#connection = undefined
    clearTimeout(this.#retryTimer)
    this.#exchange.observer = undefined
    this.#body.stop()
    this.#deps.deadlines.delete(this)
  }
}
