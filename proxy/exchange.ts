/** One request and the means to answer it, the same for HTTP/1.1 and HTTP/2: what every step of the relay works on. */

import type { Duplex, Readable } from 'node:stream'
import type { LandfallError } from '../lib/errors.ts'
import type { Slotted } from '../lib/slot-list.ts'
import type { Authority } from './authority.ts'
import type { ClientConnection } from './client-connection.ts'
import type { ExchangeRecord } from './exchange-record.ts'
import type { RequestFields } from './request-fields.ts'

/** `other` is what Node's parser lets through and this edge refuses, such as HTTP/0.9. */
export type HttpVersion = '1.0' | '1.1' | '2' | 'other'

/** After `onClientGone` or `onFault` nothing more is told. */
export interface ExchangeObserver {
  /** The client is gone before the answer was complete. */
  onClientGone(): void
  /**
   * The exchange must end with this error: the rest of the request is not HTTP, the edge goes away, or the client may
   * not have the answer any more.
   */
  onFault(error: LandfallError): void
  /** The client takes more bytes again. */
  onDrain(): void
}

/** How the body's end is known: a length in bytes, or 'chunked', or no body. */
export type BodyFraming = number | 'chunked' | undefined

export interface ClientTunnel {
  readonly stream: Duplex
  /** What the client sent before the VM had agreed. */
  readonly early: Buffer
}

export interface EndableTunnel {
  /** The client may not have it any more. Nothing of the client's goes on to the VM after this. */
  endAccess(): void
}

export interface StartOptions {
  /** Keeps an HTTP/2 stream open for trailers after the body. */
  readonly mayHaveTrailers: boolean
  /** False ends an HTTP/2 stream with its head. */
  readonly hasBody: boolean
}

/** All that the steps of a request know of it, and all that they can do to its client. */
export interface Exchange extends Slotted {
  /** The X-Request-Id: 32 hex digits that are the trace id as well, or a trusted proxy's own id. */
  readonly id: string
  readonly version: HttpVersion
  readonly method: string
  /** Exactly what goes to the VM: a path with its query, or `*`. */
  target: string
  /** What `checkRequest` read from Host or :authority; before that, an empty host. */
  authority: Authority
  readonly fields: RequestFields
  /** Names and values, alternating, as they came; over HTTP/2 pseudo-header fields stand among them. */
  readonly rawHeaders: readonly string[]
  readonly client: ClientConnection
  /** The client's side as a bare stream. */
  readonly stream: Duplex
  /** Ends after the last byte of the request's body. */
  readonly body: Readable
  /** Undefined when the request has no body. */
  readonly bodyFraming: BodyFraming
  /** The whole body has been read from the client. */
  readonly isBodyComplete: boolean
  /** The client waits for a 100 before it sends the body (RFC 9110 section 10.1.1). */
  readonly expectsContinue: boolean
  /** The client asks for a WebSocket, by Upgrade (RFC 6455) or by extended CONNECT (RFC 8441). */
  readonly isUpgrade: boolean
  /** The client asks for a port of a VM as a byte stream, by plain CONNECT (RFC 9110 section 9.3.6). */
  readonly isConnect: boolean
  readonly record: ExchangeRecord
  readonly headSent: boolean
  observer: ExchangeObserver | undefined
  /** What it has become, while that is open; nobody observes it any more then. */
  tunnel: EndableTunnel | undefined

  /** Request trailers, alternating; complete when `body` has ended. */
  trailers(): readonly string[]
  /** Sends 100. */
  sendContinue(): void
  /** Sends another informational response; nothing happens for HTTP/1.0. */
  inform(status: number, headers: readonly string[]): void
  /** Sends the head. */
  start(status: number, reason: string, headers: readonly string[], options: StartOptions): void
  /** Bytes of an answer that has ended which the client has not taken yet. */
  readonly unsentBytes: number
  /** Told once, when the exchange has its log line: the next request of the connection may start. */
  onSettled(): void
  /** Sends a head that waits to go out with the first bytes of the body. */
  flushHead(): void
  /** The connection ends with this answer, whole. */
  endConnection(): void
  /** The connection ends with this answer; what the client has sent behind the request is not read. */
  distrustConnection(): void
  /** Copies `chunk`, as `end` does. False means: wait for `onDrain`. */
  write(chunk: Buffer): boolean
  end(chunk?: Buffer, trailers?: readonly string[]): void
  /** Turns the exchange into a byte stream: 101 after an upgrade, 200 after CONNECT and over HTTP/2. */
  openTunnel(headers: readonly string[]): ClientTunnel
  /**
   * Cuts the answer so that the client can tell it is incomplete. Over HTTP/2 the code says whose doing it was: CANCEL
   * when its record says `access_ended`, INTERNAL_ERROR elsewhere.
   */
  abort(): void
}
