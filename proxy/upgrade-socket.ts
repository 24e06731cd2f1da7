/** A client's socket between its upgrade or CONNECT and the VM's answer: early bytes are held back, its end is noticed. */

import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** RFC 6455 section 4.1: a client waits for the 101, so this is generous. */
const MAX_EARLY_BYTES = 65_536

export class UpgradeSocket {
  /** Node makes none for an upgrade request; refusals go out through it. */
  readonly response: ServerResponse
  readonly #socket: Socket
  readonly #early: Buffer[]
  #earlyBytes = 0

  /** `head` are the bytes that came in one read with the request. */
  constructor(request: IncomingMessage, socket: Socket, head: Buffer) {
    this.#socket = socket
    this.#early = [head]
    this.response = responseFor(request, socket)
    // Node takes its own listener off at an upgrade; without one a long refusal would never go on.
    socket.on('drain', this.#onDrain)
    socket.on('readable', this.#onReadable)
  }

  /** The bare socket for a tunnel, and what the client has sent so far; its end may have been read already. */
  takeOver(): { readonly socket: Socket; readonly early: Buffer } {
    this.response.detachSocket(this.#socket)
    // A 'readable' listener would keep the tunnel's 'data' listener from ever being called.
    this.#socket.off('readable', this.#onReadable).off('drain', this.#onDrain)
    return { socket: this.#socket, early: Buffer.concat(this.#early) }
  }

  readonly #onDrain = (): void => {
    this.response.emit('drain')
  }

  /** A stream with unread bytes never tells its end, so a client that left would go unnoticed. */
  readonly #onReadable = (): void => {
    for (let chunk = this.#socket.read(); chunk !== null; chunk = this.#socket.read()) {
      this.#early.push(chunk)
      this.#earlyBytes += chunk.length
    }
    if (this.#earlyBytes > MAX_EARLY_BYTES) this.#socket.destroy()
  }
}

/** A response on a socket that the HTTP server has let go of; it ends the connection. */
function responseFor(request: IncomingMessage, socket: Socket): ServerResponse {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.once('finish', () => socket.destroySoon())
  return response
}
