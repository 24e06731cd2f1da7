/** A WebSocket echo server (RFC 6455) on top of node:http's `upgrade` event. */

import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import {
  CLOSE,
  type Frame,
  FrameError,
  FrameReader,
  OPCODE,
  parseClose,
  toCloseFrame,
  toFrame,
} from './hello-frames.ts'

const ACCEPT_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
/** Of one message, however many frames it comes in. */
export const MAX_MESSAGE_BYTES = 1_048_576
/** How long the client may take to end the connection after the last close frame. */
const CLOSE_TIMEOUT_MS = 2_000

export interface EchoSocket {
  /** Sends a close frame and ends the connection, by force if the client does not. */
  close(code: number): void
}

/** Answers the handshake and echoes from then on; a bad handshake is refused and gives undefined. */
export function acceptWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): EchoSocket | undefined {
  // An error means that the connection is gone, and `close` follows.
  socket.on('error', () => socket.destroy())
  const refusal = findRefusal(request)
  if (refusal) {
    socket.end(`HTTP/1.1 ${refusal}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
    return undefined
  }
  socket.write(toHandshake(request))
  const echo = new Echo(socket)
  echo.start(head)
  return echo
}

/** RFC 6455 section 4.2.1. */
function findRefusal({ method, headers }: IncomingMessage): string | undefined {
  const key = headers['sec-websocket-key'] ?? ''
  if (method !== 'GET') return '405 Method Not Allowed\r\nAllow: GET'
  if (headers.upgrade?.toLowerCase() !== 'websocket') return '400 Bad Request'
  if (headers['sec-websocket-version'] !== '13') return '426 Upgrade Required\r\nSec-WebSocket-Version: 13'
  // 16 bytes in base64.
  if (!/^[A-Za-z0-9+/]{22}==$/.test(key)) return '400 Bad Request'
  return undefined
}

/** Chooses the first subprotocol offered: browsers give up when they offered some and none is chosen. */
function toHandshake({ headers }: IncomingMessage): string {
  const accept = createHash('sha1').update(`${headers['sec-websocket-key']}${ACCEPT_SUFFIX}`).digest('base64')
  const [protocol = ''] = (headers['sec-websocket-protocol'] ?? '').split(',').map((item) => item.trim())
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${accept}`,
    ...(/^[\w!#$%&'*+.^`|~-]+$/.test(protocol) ? [`Sec-WebSocket-Protocol: ${protocol}`] : []),
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}

class Echo implements EchoSocket {
  readonly #socket: Duplex
  readonly #reader = new FrameReader(MAX_MESSAGE_BYTES)
  /** The parts of a message that has begun and not ended. */
  #parts: Buffer[] = []
  #partBytes = 0
  #opcode: number = OPCODE.continuation
  #isClosing = false

  constructor(socket: Duplex) {
    this.#socket = socket
  }

  start(head: Buffer): void {
    this.#socket.on('data', (chunk: Buffer) => this.#take(chunk))
    this.#socket.on('end', () => this.#socket.end())
    // Reading stops while the client does not read what is echoed to it.
    this.#socket.on('drain', () => this.#socket.resume())
    if (head.length > 0) this.#take(head)
  }

  close(code: number, reason = ''): void {
    if (this.#isClosing) return
    this.#isClosing = true
    this.#socket.end(toCloseFrame(code, reason))
    this.#socket.resume()
    const timer = setTimeout(() => this.#socket.destroy(), CLOSE_TIMEOUT_MS)
    this.#socket.once('close', () => clearTimeout(timer))
  }

  #take(chunk: Buffer): void {
    if (this.#isClosing) return
    try {
      for (const frame of this.#reader.read(chunk)) {
        this.#handle(frame)
        if (this.#isClosing) return
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      this.close(error.closeCode, error.message)
    }
  }

  #handle({ isFinal, opcode, payload }: Frame): void {
    if (opcode === OPCODE.ping) this.#send(OPCODE.pong, payload)
    else if (opcode === OPCODE.close) this.#answerClose(payload)
    else if (opcode !== OPCODE.pong) this.#gather({ isFinal, opcode, payload })
  }

  /** RFC 6455 section 5.4: a message is a text or binary frame and then continuations, nothing between. */
  #gather({ isFinal, opcode, payload }: Frame): void {
    const continues = this.#opcode !== OPCODE.continuation
    if (continues !== (opcode === OPCODE.continuation))
      throw new FrameError(CLOSE.protocolError, 'the frame does not continue the message')
    if (!continues) this.#opcode = opcode
    this.#partBytes += payload.length
    if (this.#partBytes > MAX_MESSAGE_BYTES)
      throw new FrameError(CLOSE.tooBig, `more than ${MAX_MESSAGE_BYTES} bytes`)
    // An empty part is not kept: endless empty frames would fill memory otherwise.
    if (payload.length > 0) this.#parts.push(payload)
    if (isFinal) this.#echo()
  }

  #echo(): void {
    const message = Buffer.concat(this.#parts)
    const opcode = this.#opcode
    this.#parts = []
    this.#partBytes = 0
    this.#opcode = OPCODE.continuation
    if (opcode === OPCODE.text && !isUtf8(message))
      throw new FrameError(CLOSE.invalidText, 'the text is not UTF-8')
    this.#send(opcode, message)
  }

  #answerClose(payload: Buffer): void {
    const code = parseClose(payload)
    if (!isUtf8(payload.subarray(2))) throw new FrameError(CLOSE.invalidText, 'the close reason is not UTF-8')
    this.close(code)
  }

  #send(opcode: number, payload: Buffer): void {
    if (!this.#socket.write(toFrame(opcode, payload))) this.#socket.pause()
  }
}
