/** All client connections of an edge: the facts of each, who is still busy on it, and what happens when one closes. */

import { BlockList, isIPv6, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Watched } from '../lib/deadlines.ts'
import { StallWatch } from '../lib/stall-watch.ts'
import { type ClientConnection, ConnectionCounter, createClientConnection } from './client-connection.ts'
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

export class ClientRegistry implements Watched {
  slot = -1
  readonly #clients = new WeakMap<Socket, ClientConnection>()
  readonly #sockets = new Set<Socket>()
  /** `performance.now()` by peer: the TLS socket that comes later is another object than the accepted one. */
  readonly #openedAt = new Map<string, number>()
  readonly #connected = new Map<ClientConnection, Socket>()
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
    return this.#sockets.size
  }

  /** Counts a raw connection before any byte of it costs anything; false when it was refused. */
  admit(socket: Socket): boolean {
    if (!this.#counter.admit(socket)) return false
    const peer = peerOf(socket)
    this.#sockets.add(socket)
    this.#openedAt.set(peer, performance.now())
    socket.once('close', () => {
      this.#sockets.delete(socket)
      this.#openedAt.delete(peer)
    })
    return true
  }

  /** The facts of the connection that a request came on; read once per connection. */
  clientOf(socket: Socket | TLSSocket): ClientConnection {
    return this.#clients.get(socket) ?? this.#remember(socket)
  }

  /** True while a request is open or bytes of an answer are on their way; idle connections do not count. */
  get isBusy(): boolean {
    for (const [{ active, waiting }, { writableLength }] of this.#connected) {
      if (active.size > 0 || waiting.length > 0 || writableLength > 0) return true
    }
    return false
  }

  /** Milliseconds since the connection was accepted. */
  ageMs(socket: Socket): number {
    const now = performance.now()
    return now - (this.#openedAt.get(peerOf(socket)) ?? now)
  }

  /** Ends every open exchange with `error`: an answer where none was begun, a cut elsewhere. */
  failAll(error: RelayError): void {
    for (const client of this.#connected.keys()) {
      client.waiting.length = 0
      for (const exchange of client.active.snapshot()) exchange.observer?.onFault(error)
    }
  }

  /** Calls `visit` with each exchange that is open at this moment; it may end any of them. */
  visitOpen(visit: (exchange: Exchange) => void): void {
    for (const { active } of this.#connected.keys()) {
      if (active.size > 0) for (const exchange of active.snapshot()) visit(exchange)
    }
  }

  /** Lets every open exchange be the last on its connection. */
  endConnections(): void {
    for (const client of this.#connected.keys())
      for (const exchange of client.active.snapshot()) exchange.endConnection()
  }

  /** Cuts clients that leave the end of an answer unread; while an answer is under way, its relay watches. */
  checkDeadlines(now: number): void {
    if (now < this.#nextSweepAt) return
    this.#nextSweepAt = now + this.#sweepMs
    for (const [client, socket] of this.#connected) {
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
    for (const socket of this.#sockets) socket.destroy()
  }

  #remember(socket: Socket | TLSSocket): ClientConnection {
    const client = createClientConnection(socket, this.#trusted)
    this.#clients.set(socket, client)
    this.#connected.set(client, socket)
    socket.once('close', () => {
      this.#connected.delete(client)
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

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
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
