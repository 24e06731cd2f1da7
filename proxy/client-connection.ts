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
  const address = withoutMapping(socket.remoteAddress ?? '')
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
  return {
    version: socket.getProtocol() ?? '',
    cipher: cipherOf(socket),
    serverName: typeof name === 'string' && name !== '' ? name.toLowerCase() : undefined,
  }
}

/** Undefined behind Node's types when the handshake failed or the socket is gone. */
function cipherOf(socket: TLSSocket): string {
  const cipher: { standardName: string } | undefined = socket.getCipher()
  return cipher?.standardName ?? ''
}

export function withoutMapping(address: string): string {
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

  /** Destroys the socket and returns false when its client has too many already. */
  admit(socket: Socket): boolean {
    const address = socket.remoteAddress ?? ''
    const count = this.#counts.get(address) ?? 0
    if (count >= this.#limit && !this.#isTrusted(withoutMapping(address))) {
      socket.destroy()
      return false
    }
    this.#counts.set(address, count + 1)
    socket.once('close', () => this.#release(address))
    return true
  }

  #release(address: string): void {
    const count = (this.#counts.get(address) ?? 1) - 1
    if (count <= 0) this.#counts.delete(address)
    else this.#counts.set(address, count)
  }
}
