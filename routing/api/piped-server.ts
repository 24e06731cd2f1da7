/** Serves HTTP over in-memory connections: the server never listens on a port. */

import { type Duplex, duplexPair } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { RoutingError } from '../errors.ts'

export interface AdminApi {
  /** A new connection to the API, as a socket would be. @throws RoutingError `api_closed` */
  connect(): Duplex
}

/**
 * The http.Server never listens, so none of its time-outs run (Node starts them at 'listening') and its
 * close() knows no connections. The edge's own time-outs bound every connection from the other side;
 * ending them all at close is done here.
 */
export class PipedServer implements AdminApi, AsyncDisposable {
  readonly #app: FastifyInstance
  readonly #connections = new Set<Duplex>()
  #isClosed = false

  constructor(app: FastifyInstance) {
    this.#app = app
  }

  connect(): Duplex {
    if (this.#isClosed) throw new RoutingError('api_closed')
    const [near, far] = duplexPair()
    endTogether(near, far)
    this.#connections.add(far)
    far.once('close', () => this.#connections.delete(far))
    this.#app.server.emit('connection', far)
    return near
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const connection of this.#connections) connection.destroy()
    await this.#app.close()
  }
}

// A destroyed side leaves the other one's pending write unanswered for ever, so each ends the other.
function endTogether(one: Duplex, other: Duplex): void {
  one.once('close', () => other.destroy())
  other.once('close', () => one.destroy())
}
