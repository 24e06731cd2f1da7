/** All client connections of an edge: the facts of each, who is still busy on it, and what happens when one closes. */

import { BlockList, isIPv6, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type ClientConnection, ConnectionCounter, createClientConnection } from './client-connection.ts'

export interface ClientRegistrySettings {
  readonly connectionsPerClient: number
  /** IP addresses and CIDR ranges. */
  readonly trustedProxies: readonly string[]
}

/** A client that closed its sending side counts as gone when for this long no byte of its answer moved. */
const HALF_CLOSE_GRACE_MS = 700

export class ClientRegistry {
  readonly #clients = new WeakMap<Socket, ClientConnection>()
  readonly #sockets = new Set<Socket>()
  /** `performance.now()` by peer: the TLS socket that comes later is another object than the accepted one. */
  readonly #openedAt = new Map<string, number>()
  readonly #connected = new Set<ClientConnection>()
  readonly #counter: ConnectionCounter
  readonly #trusted: BlockList

  constructor({ connectionsPerClient, trustedProxies }: ClientRegistrySettings) {
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

  /** Milliseconds since the connection was accepted. */
  ageMs(socket: Socket): number {
    const now = performance.now()
    return now - (this.#openedAt.get(peerOf(socket)) ?? now)
  }

  /** Lets every open exchange be the last on its connection. */
  endConnections(): void {
    for (const client of this.#connected)
      for (const exchange of client.active.snapshot()) exchange.endConnection()
  }

  destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #remember(socket: Socket | TLSSocket): ClientConnection {
    const client = createClientConnection(socket, this.#trusted)
    this.#clients.set(socket, client)
    this.#connected.add(client)
    socket.once('close', () => {
      this.#connected.delete(client)
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
