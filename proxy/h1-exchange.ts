/** An exchange over HTTP/1.x, on Node's own server. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex, Readable } from 'node:stream'
import { NO_AUTHORITY } from './authority.ts'
import type { ClientConnection } from './client-connection.ts'
import type {
  BodyFraming,
  ClientTunnel,
  EndableTunnel,
  Exchange,
  ExchangeObserver,
  HttpVersion,
} from './exchange.ts'
import { createRecord, type ExchangeRecord } from './exchange-record.ts'
import { findField, toLines } from './field-lines.ts'
import { type RequestFields, readRequestFields } from './request-fields.ts'
import { requestIdFor } from './request-id.ts'
import type { UpgradeSocket } from './upgrade-socket.ts'

export interface H1Request {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly client: ClientConnection
  readonly expectsContinue?: boolean
  /** The socket of a WebSocket handshake or of a CONNECT. */
  readonly upgrade?: UpgradeSocket
}

/** A client that has its answer but still sends gets this long to notice before the connection is cut. */
const LINGER_MS = 1_000
/** What stands before and behind the fields of a tunnel's head. */
const SWITCHED = ['101 Switching Protocols', 'connection: Upgrade\r\nupgrade: websocket\r\n'] as const
const CONNECTED = ['200 Connection Established', ''] as const
/** Node sends a head and a body that are both text in one piece, which costs less than a buffer and a second piece. */
const MAX_TEXT_BYTES = 8_192

export class H1Exchange implements Exchange {
  slot = -1
  readonly id: string
  readonly version: HttpVersion
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
  observer: ExchangeObserver | undefined
  tunnel: EndableTunnel | undefined
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #upgrade: UpgradeSocket | undefined
  #hasDrainListener = false

  constructor({ request, response, client, expectsContinue = false, upgrade }: H1Request) {
    this.#request = request
    this.#response = response
    this.#upgrade = upgrade
    this.client = client
    this.version = versionOf(request.httpVersion)
    this.method = request.method ?? 'GET'
    this.target = request.url ?? '/'
    this.rawHeaders = request.rawHeaders
    this.fields = readRequestFields(this.rawHeaders)
    this.bodyFraming = bodyFramingOf(this.fields)
    this.expectsContinue = expectsContinue
    this.isConnect = this.method === 'CONNECT'
    this.isUpgrade = upgrade !== undefined && !this.isConnect
    this.id = requestIdFor(client, this.rawHeaders)
    this.record = createRecord()
  }

  get stream(): Duplex {
    return this.#request.socket
  }

  get body(): Readable {
    return this.#request
  }

  get isBodyComplete(): boolean {
    return this.bodyFraming === undefined || this.#request.complete
  }

  /** The whole connection's, which answers one request at a time. */
  get unsentBytes(): number {
    return this.#request.socket.writableLength
  }

  get headSent(): boolean {
    return this.#response.headersSent
  }

  trailers(): readonly string[] {
    return this.#request.rawTrailers
  }

  sendContinue(): void {
    this.#response.writeContinue()
  }

  inform(status: number, headers: readonly string[]): void {
    if (this.version === '1.1' && !this.headSent) this.#response.writeInformation(status, [...headers])
  }

  start(status: number, reason: string, headers: readonly string[]): void {
    this.record.status = status
    // Without a length the end of the connection is the end of the body (RFC 9112 section 6.3).
    if (this.version === '1.0' && findField(headers, 'content-length') === undefined)
      this.#response.shouldKeepAlive = false
    this.#response.writeHead(status, reason, headers as string[])
  }

  flushHead(): void {
    this.#response.flushHeaders()
  }

  /** A head that is out has promised to keep the connection, so its last byte ends it. */
  endConnection(): void {
    this.#response.shouldKeepAlive = false
    if (this.headSent) this.#response.once('finish', () => this.#request.socket.destroySoon())
  }

  distrustConnection(): void {
    this.client.isSpent = true
    this.client.waiting.length = 0
    this.#response.shouldKeepAlive = false
  }

  write(chunk: Buffer): boolean {
    this.record.bytesOut += chunk.length
    if (this.#response.write(Buffer.from(chunk))) return true
    if (!this.#hasDrainListener) {
      this.#hasDrainListener = true
      this.#response.on('drain', () => this.observer?.onDrain())
    }
    return false
  }

  end(chunk?: Buffer, trailers: readonly string[] = []): void {
    if (chunk !== undefined) this.record.bytesOut += chunk.length
    if (trailers.length > 0 && this.version === '1.1') this.#response.addTrailers(toPairs(trailers))
    if (chunk === undefined) this.#response.end()
    else if (chunk.length > MAX_TEXT_BYTES) this.#response.end(Buffer.from(chunk))
    else this.#response.end(chunk.toString('latin1'), 'latin1')
    if (!this.isBodyComplete) this.#lingerForBody()
  }

  openTunnel(headers: readonly string[]): ClientTunnel {
    if (this.#upgrade === undefined) throw new TypeError('only an upgrade or CONNECT can become a tunnel')
    this.record.status = this.isConnect ? 200 : 101
    const { socket, early } = this.#upgrade.takeOver()
    const [start, end] = this.isConnect ? CONNECTED : SWITCHED
    socket.write(`HTTP/1.1 ${start}\r\n${toLines(headers)}${end}\r\n`, 'latin1')
    return { stream: socket, early }
  }

  onSettled(): void {
    const { client } = this
    client.active.delete(this)
    // RFC 9112 section 9.6: what stands behind the last answer of a connection must not be processed.
    if (this.#request.socket.destroyed || !this.#response.shouldKeepAlive) client.waiting.length = 0
    else client.waiting.shift()?.()
  }

  abort(): void {
    this.#request.socket.destroy()
  }

  /** RFC 9112 section 9.6: closing at once could reset the connection before the client read its answer. */
  #lingerForBody(): void {
    const { socket } = this.#request
    this.#request.resume()
    const timer = setTimeout(() => socket.destroy(), LINGER_MS)
    const stop = () => {
      clearTimeout(timer)
      socket.off('close', stop)
    }
    socket.once('close', stop)
    this.#request.once('end', stop)
  }
}

function versionOf(text: string): HttpVersion {
  return text === '1.1' || text === '1.0' ? text : 'other'
}

function bodyFramingOf({ transferEncoding, length }: RequestFields): BodyFraming {
  if (transferEncoding !== '') return 'chunked'
  const bytes = Number(length)
  return bytes > 0 ? bytes : undefined
}

function toPairs(fields: readonly string[]): [string, string][] {
  const pairs: [string, string][] = []
  for (let at = 0; at + 1 < fields.length; at += 2) pairs.push([fields[at] ?? '', fields[at + 1] ?? ''])
  return pairs
}
