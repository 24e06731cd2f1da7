/** Serves HTTP over in-memory connections: the server never listens on a port. */

import type { Server } from 'node:http'
import { type Duplex, duplexPair } from 'node:stream'

/** What can be reached inside this process alone. */
export interface Connectable {
  /** A new connection to it, as a socket would be. @throws once it is closed */
  connect(): Duplex
}

/** What answers; a Fastify instance fits. */
export interface PipedOwner {
  readonly server: Server
  close(): Promise<unknown>
}

/**
 * The http.Server never listens, so none of its time-outs run (Node starts them at 'listening') and its
 * close() knows no connections. The edge's own time-outs bound every connection from the other side;
 * ending them all at close is done here.
 */
export class PipedServer implements Connectable, AsyncDisposable {
  readonly #owner: PipedOwner
  readonly #toClosedError: () => Error
  readonly #connections = new Set<Duplex>()
  #isClosed = false

  /** `toClosedError` makes what connect() throws once this is closed. */
  constructor(
    owner: PipedOwner,
    toClosedError = () => new Error('the server inside this process is closed'),
  ) {
    this.#owner = owner
    this.#toClosedError = toClosedError
  }

  connect(): Duplex {
    if (this.#isClosed) throw this.#toClosedError()
    const [near, far] = duplexPair()
    endTogether(near, far)
    this.#connections.add(far)
    far.once('close', () => this.#connections.delete(far))
    this.#owner.server.emit('connection', far)
    return near
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const connection of this.#connections) connection.destroy()
    await this.#owner.close()
  }
}

// A destroyed side leaves the other one's pending write unanswered for ever, so each ends the other.
function endTogether(one: Duplex, other: Duplex): void {
  one.once('close', () => other.destroy())
  other.once('close', () => one.destroy())
}
