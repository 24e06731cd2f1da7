/** One keep-alive HTTP/1.1 connection to an upstream: sends requests, hands parsed responses to its user. */

import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { RelayError, toConnectError } from './errors.ts'
import { findField } from './field-lines.ts'
import {
  type ResponseContext,
  type ResponseHead,
  ResponseParser,
  type ResponseSink,
} from './response-parser.ts'
import type { OnRead, Upstream } from './upstream.ts'

/** Whoever holds the connection; after `onFailed` or the end of the response it holds it no more. */
export interface ConnectionUser extends ResponseSink {
  onConnected(): void
  /** All bytes of one read have been handed on, and the response goes on. */
  onReadEnd(): void
  /** The connection takes more bytes again. */
  onWritable(): void
  onFailed(error: RelayError): void
}

export interface ConnectionParts {
  readonly upstream: Upstream
  readonly owner: ConnectionOwner
  readonly user: ConnectionUser
  /** Reads in a way that outlives `detach`. */
  readonly isRaw: boolean
}

/** What the pool wants to know of its connections. */
export interface ConnectionOwner {
  onIdle(connection: UpstreamConnection): void
  onClosed(connection: UpstreamConnection): void
}

/** Node's own servers close after 5 s of silence: staying below avoids most stale reuses. */
const IDLE_LIMIT_MS = 4_000
const LONGEST_IDLE_LIMIT_MS = 60_000

type State = 'connecting' | 'idle' | 'busy' | 'closed'

export class UpstreamConnection {
  readonly #socket: Duplex
  readonly #owner: ConnectionOwner
  readonly #parser = new ResponseParser()
  #state: State
  #user: ConnectionUser | undefined
  #mayBeReused = false
  #isPaused = false
  #served = 0
  /** `performance.now()` after which an idle connection is closed. */
  idleUntil = 0

  constructor({ upstream, owner, user, isRaw }: ConnectionParts) {
    const socket = upstream.dial(isRaw ? undefined : this.#onData)
    this.#socket = socket
    this.#owner = owner
    this.#user = user
    this.#state = socket instanceof Socket && socket.connecting ? 'connecting' : 'busy'
    socket.on('connect', this.#onConnect)
    socket.on('data', this.#onData)
    socket.on('drain', this.#onDrain)
    socket.on('end', this.#onEnd)
    socket.on('error', this.#onError)
    socket.on('close', this.#onClose)
  }

  get isConnecting(): boolean {
    return this.#state === 'connecting'
  }

  /** True when an earlier request went over it: only then can it be stale. */
  get isReused(): boolean {
    return this.#served > 1
  }

  /** Takes an idle connection for the next request. */
  take(user: ConnectionUser): void {
    this.#user = user
    this.#state = 'busy'
  }

  /** Writes a request head: latin1 text that ends in an empty line. */
  send(head: string, context: ResponseContext): void {
    if (this.#user === undefined) return
    this.#served += 1
    this.#mayBeReused = false
    this.#parser.expect(context, this.#user)
    this.#socket.write(head, 'latin1')
  }

  /** False means: wait for `onWritable`. */
  write(chunk: Buffer | string): boolean {
    return this.#socket.write(chunk as string, 'latin1')
  }

  cork(): void {
    this.#socket.cork()
  }

  uncork(): void {
    this.#socket.uncork()
  }

  pause(): void {
    this.#isPaused = true
    this.#socket.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#socket.resume()
  }

  /** The user is done; the connection goes back to the pool once the bytes at hand are read without fault. */
  release(head: ResponseHead): void {
    this.#user = undefined
    this.#mayBeReused = true
    // The last bytes may have filled the client: a connection that is not read would swallow the next answer.
    if (this.#isPaused) this.resume()
    this.idleUntil = performance.now() + idleLimitMs(head)
  }

  /** Hands the bare stream over after a 101; the pool counts it until it is closed. */
  detach(): Duplex {
    this.#user = undefined
    this.#state = 'closed'
    const socket = this.#socket
    socket.once('close', () => this.#owner.onClosed(this))
    socket.off('connect', this.#onConnect).off('data', this.#onData).off('drain', this.#onDrain)
    socket.off('end', this.#onEnd).off('error', this.#onError).off('close', this.#onClose)
    return socket
  }

  /** Closes at once and tells nobody but the pool. */
  destroy(): void {
    this.#forget()
    this.#socket.destroy()
  }

  /** Ends the exchange with `error`, as if the connection had failed with it. */
  fail(error: RelayError): void {
    const user = this.#user
    this.destroy()
    user?.onFailed(error)
  }

  #forget(): void {
    this.#user = undefined
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#owner.onClosed(this)
  }

  readonly #onConnect = (): void => {
    if (this.#state !== 'connecting') return
    this.#state = 'busy'
    this.#user?.onConnected()
  }

  readonly #onData: OnRead = (chunk) => {
    try {
      if (this.#state === 'idle')
        throw new RelayError('upstream_invalid', { detail: 'bytes without a request' })
      this.#parser.feed(chunk)
    } catch (error) {
      this.fail(toRelayError(error))
      return
    }
    if (this.#mayBeReused && this.#state === 'busy') this.#settle()
    else this.#user?.onReadEnd()
  }

  #settle(): void {
    this.#mayBeReused = false
    if (!this.#parser.isIdle) {
      this.destroy()
      return
    }
    this.#state = 'idle'
    this.#owner.onIdle(this)
  }

  readonly #onDrain = (): void => {
    this.#user?.onWritable()
  }

  readonly #onEnd = (): void => {
    try {
      this.#parser.finish()
    } catch (error) {
      this.fail(toRelayError(error))
      return
    }
    if (this.#user === undefined) this.destroy()
    else this.fail(new RelayError('upstream_reset'))
  }

  readonly #onError = (error: NodeJS.ErrnoException): void => {
    if (this.#state === 'connecting') this.fail(toConnectError(error))
    else this.#failBroken(error)
  }

  readonly #onClose = (): void => {
    if (this.#state !== 'closed') this.#failBroken()
  }

  #failBroken(cause?: Error): void {
    this.fail(new RelayError(this.#parser.hasStarted ? 'upstream_incomplete' : 'upstream_reset', { cause }))
  }
}

/** The upstream's own `Keep-Alive: timeout=N` less a second, where it gives one. */
function idleLimitMs(head: ResponseHead): number {
  const hint = findField(head.headers, 'keep-alive')
  const seconds = hint === undefined ? undefined : /timeout=(\d{1,5})/i.exec(hint)?.[1]
  if (seconds === undefined) return IDLE_LIMIT_MS
  return Math.min(LONGEST_IDLE_LIMIT_MS, Math.max(0, Number(seconds) - 1) * 1_000)
}

function toRelayError(error: unknown): RelayError {
  return error instanceof RelayError ? error : new RelayError('internal_error', { cause: error })
}
