/** All client connections of an edge: the facts of each, who is still busy on it, and what happens when one closes. */

import { BlockList, isIPv6, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Watched } from '../lib/deadlines.ts'
import { SlotList, type Slotted } from '../lib/slot-list.ts'
import { StallWatch } from '../lib/stall-watch.ts'
import {
  acceptedSocketOf,
  type ClientConnection,
  ConnectionCounter,
  createClientConnection,
} from './client-connection.ts'
import type { RelayError } from './errors.ts'
import type { Exchange } from './exchange.ts'

export interface ClientRegistrySettings {
  readonly connectionsPerClient: number
  /** IP addresses and CIDR ranges. */
  readonly trustedProxies: readonly string[]
  /** How long the end of an answer may lie unread. */
  readonly idleMs: number
}

/** A stalled client is cut at most this part of the limit too late. */
const SWEEPS_PER_LIMIT = 4
/** A client that closed its sending side counts as gone when for this long no byte of its answer moved. */
const HALF_CLOSE_GRACE_MS = 700

/** An accepted socket, the one below TLS. */
interface Accepted extends Slotted {
  readonly socket: Socket
  /** `performance.now()`. */
  readonly atMs: number
}

/** A socket that a request came on, or bytes that were none. */
interface Connected extends Slotted {
  readonly socket: Socket
  readonly client: ClientConnection
}

const ACCEPTED = Symbol('accepted')
const CONNECTED = Symbol('connected')

/** What is known of a socket is kept in it: a `WeakMap` would have to turn over with every connection, as a `Map` would. */
interface Known extends Socket {
  [ACCEPTED]?: Accepted
  [CONNECTED]?: Connected
}

export class ClientRegistry implements Watched {
  slot = -1
  readonly #accepted = new SlotList<Accepted>()
  readonly #connected = new SlotList<Connected>()
  readonly #stalls: StallWatch
  readonly #sweepMs: number
  #nextSweepAt = 0
  readonly #counter: ConnectionCounter
  readonly #trusted: BlockList

  constructor({ connectionsPerClient, trustedProxies, idleMs }: ClientRegistrySettings) {
    this.#stalls = new StallWatch(idleMs)
    this.#sweepMs = idleMs / SWEEPS_PER_LIMIT
    this.#trusted = toBlockList(trustedProxies)
    this.#counter = new ConnectionCounter(connectionsPerClient, (address) => this.#isTrusted(address))
  }

  get openConnections(): number {
    return this.#accepted.size
  }

  /** Counts a raw connection before any byte of it costs anything; false when it was refused. */
  admit(socket: Socket): boolean {
    const address = socket.remoteAddress ?? ''
    if (!this.#counter.admit(address)) {
      socket.destroy()
      return false
    }
    const accepted: Accepted = { slot: -1, socket, atMs: performance.now() }
    const known: Known = socket
    known[ACCEPTED] = accepted
    this.#accepted.add(accepted)
    socket.on('close', () => {
      this.#accepted.delete(accepted)
      this.#counter.release(address)
    })
    return true
  }

  /** The facts of the connection that a request came on; read once per connection. */
  clientOf(socket: Socket | TLSSocket): ClientConnection {
    const known: Known = socket
    return known[CONNECTED]?.client ?? this.#remember(known)
  }

  /** True while a request is open or bytes of an answer are on their way; idle connections do not count. */
  get isBusy(): boolean {
    return this.#connected
      .snapshot()
      .some(
        ({ client: { active, waiting }, socket }) =>
          active.size > 0 || waiting.length > 0 || socket.writableLength > 0,
      )
  }

  /** Milliseconds since the connection was accepted. */
  ageMs(socket: Socket): number {
    const known: Known = acceptedSocketOf(socket)
    const now = performance.now()
    return now - (known[ACCEPTED]?.atMs ?? now)
  }

  /** Ends every open exchange with `error`: an answer where none was begun, a cut elsewhere. */
  failAll(error: RelayError): void {
    for (const { client } of this.#connected.snapshot()) {
      client.waiting.length = 0
      for (const exchange of client.active.snapshot()) exchange.observer?.onFault(error)
    }
  }

  /** Calls `visit` with each exchange that is open at this moment; it may end any of them. */
  visitOpen(visit: (exchange: Exchange) => void): void {
    for (const { client } of this.#connected.snapshot()) {
      if (client.active.size > 0) for (const exchange of client.active.snapshot()) visit(exchange)
    }
  }

  /** Lets every open exchange be the last on its connection. */
  endConnections(): void {
    for (const { client } of this.#connected.snapshot())
      for (const exchange of client.active.snapshot()) exchange.endConnection()
  }

  /** Cuts clients that leave the end of an answer unread; while an answer is under way, its relay watches. */
  checkDeadlines(now: number): void {
    if (now < this.#nextSweepAt) return
    this.#nextSweepAt = now + this.#sweepMs
    for (const { client, socket } of this.#connected.snapshot()) {
      const open = client.active.snapshot()
      const isBusy = open.some(({ observer }) => observer !== undefined)
      if (!isBusy && this.#isStalled(socket, socket.writableLength)) socket.destroy()
      for (const exchange of open) {
        if (exchange.observer === undefined && this.#isStalled(exchange, exchange.unsentBytes))
          exchange.abort()
      }
    }
  }

  #isStalled(subject: object, bytes: number): boolean {
    return this.#stalls.isStalled({ subject, bytes, now: this.#nextSweepAt - this.#sweepMs })
  }

  destroyAll(): void {
    for (const { socket } of this.#accepted.snapshot()) socket.destroy()
  }

  #remember(socket: Known): ClientConnection {
    const client = createClientConnection(socket, this.#trusted)
    const connected: Connected = { slot: -1, socket, client }
    socket[CONNECTED] = connected
    this.#connected.add(connected)
    socket.on('close', () => {
      this.#connected.delete(connected)
      client.waiting.length = 0
      for (const exchange of client.active.snapshot()) exchange.observer?.onClientGone()
    })
    socket.once('end', () => watchHalfClosed(socket, client))
    return client
  }

  #isTrusted(address: string): boolean {
    return this.#trusted.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
  }
}

/**
 * TCP does not tell a half-closed client from one that is gone until something is written to it; while bytes
 * flow, the kernel does.
 */
function watchHalfClosed(socket: Socket, client: ClientConnection): void {
  let written = socket.bytesWritten
  const timer = setInterval(() => {
    const isMoving = socket.writableLength > 0 || socket.bytesWritten !== written
    written = socket.bytesWritten
    const isAwaited = client.active.snapshot().some(({ observer }) => observer !== undefined)
    if (!isMoving && isAwaited) socket.destroy()
  }, HALF_CLOSE_GRACE_MS)
  socket.once('close', () => clearInterval(timer))
}

function toBlockList(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', prefix] = range.split('/')
    const family = isIPv6(address) ? 'ipv6' : 'ipv4'
    list.addSubnet(address, prefix === undefined ? (family === 'ipv6' ? 128 : 32) : Number(prefix), family)
  }
  return list
}
