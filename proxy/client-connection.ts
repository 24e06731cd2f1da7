/** What the edge knows of one client connection, and how many each client has. */

import type { BlockList, Socket } from 'node:net'
import { isIPv6 } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { SlotList } from '../lib/slot-list.ts'
import type { Authority } from './authority.ts'
import type { Exchange } from './exchange.ts'

export interface TlsFacts {
  readonly version: string
  readonly cipher: string
  /** The server name of the ClientHello. */
  readonly serverName: string | undefined
  /** The ClientHello may have had a name that nobody can tell any more. */
  readonly isNameLost: boolean
}

export interface ClientConnection {
  readonly address: string
  /** A configured proxy in front of the edge, whose forwarding fields are believed. */
  readonly isTrusted: boolean
  readonly tls: TlsFacts | undefined
  readonly active: SlotList<Exchange>
  /** Starts the HTTP/1.1 requests that came behind the one under way, one after the other. */
  readonly waiting: (() => void)[]
  /** The request that was read last. */
  newest: Exchange | undefined
  /** Set with the refusal of a request that could be read in two ways: nothing behind it may be believed. */
  isSpent: boolean
  /** The last authority parsed on this connection: most requests repeat it. */
  lastAuthority: Authority | undefined
  /** The last host that was found to be covered by the connection's certificate. */
  lastCoveredHost: string | undefined
  /** The gate's own note of the credential that came last on this connection: most requests repeat it. */
  lastPassage: object | undefined
}

/** Reads the facts of an accepted socket; an IPv4 client on a dual-stack listener gets its IPv4 spelling. */
export function createClientConnection(socket: Socket | TLSSocket, trusted: BlockList): ClientConnection {
  const address = addressOf(socket)
  return {
    address,
    isTrusted: address !== '' && trusted.check(address, isIPv6(address) ? 'ipv6' : 'ipv4'),
    tls: 'getProtocol' in socket ? tlsFacts(socket) : undefined,
    active: new SlotList(),
    waiting: [],
    newest: undefined,
    isSpent: false,
    lastAuthority: undefined,
    lastCoveredHost: undefined,
    lastPassage: undefined,
  }
}

function tlsFacts(socket: TLSSocket): TlsFacts {
  const name = socket.servername
  const version = socket.getProtocol() ?? ''
  const serverName = typeof name === 'string' && name !== '' ? name.toLowerCase() : undefined
  return {
    version,
    cipher: cipherOf(socket),
    serverName,
    // OpenSSL then tells the name of the session instead, where Node's way to choose certificates leaves none.
    isNameLost: serverName === undefined && version === 'TLSv1.2' && socket.isSessionReused(),
  }
}

/** Undefined behind Node's types when the handshake failed or the socket is gone. */
function cipherOf(socket: TLSSocket): string {
  const cipher: { standardName: string } | undefined = socket.getCipher()
  return cipher?.standardName ?? ''
}

/**
 * The socket that was accepted, which Node keeps below a TLS socket in a property that it does not document. Its address
 * has been read already; the TLS socket would ask the kernel again.
 */
export function acceptedSocketOf(socket: Socket): Socket {
  return (socket as { _parent?: Socket | null })._parent ?? socket
}

/** Empty when it went away before anybody asked. */
export function addressOf(socket: Socket): string {
  return withoutMapping(acceptedSocketOf(socket).remoteAddress ?? '')
}

function withoutMapping(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address
}

/** Counts open connections per client address and refuses what is above the limit. */
export class ConnectionCounter {
  readonly #limit: number
  readonly #isTrusted: (address: string) => boolean
  readonly #counts = new Map<string, number>()

  constructor(limit: number, isTrusted: (address: string) => boolean) {
    this.#limit = limit
    this.#isTrusted = isTrusted
  }

  /** False when the client has too many already; otherwise `release` is owed. */
  admit(address: string): boolean {
    const count = this.#counts.get(address) ?? 0
    if (count >= this.#limit && !this.#isTrusted(withoutMapping(address))) return false
    this.#counts.set(address, count + 1)
    return true
  }

  release(address: string): void {
    const count = (this.#counts.get(address) ?? 1) - 1
    if (count <= 0) this.#counts.delete(address)
    else this.#counts.set(address, count)
  }
}
