/** Joins client and upstream as two byte streams after an upgrade or CONNECT: back-pressure, half-close, idle limit, bytes counted. */

import type { Duplex } from 'node:stream'
import type { Deadlines, Watched } from '../lib/deadlines.ts'
import { type EgressMeter, headBytes } from './egress-meter.ts'
import type { Exchange } from './exchange.ts'
import { responseFields } from './response-fields.ts'
import type { ResponseHead } from './response-parser.ts'

export type TunnelKind = 'websocket' | 'connect'

export interface OpenTunnel extends Disposable {
  readonly kind: TunnelKind
}

/** Bytes from clients and to them. */
export interface TunnelBytes {
  in: number
  out: number
}

export interface TunnelDeps {
  readonly deadlines: Deadlines
  readonly times: { readonly tunnelIdleMs: number }
  readonly edgeName: string
  readonly tunnels: Set<OpenTunnel>
  /** Of all tunnels so far. */
  readonly tunnelBytes: Readonly<Record<TunnelKind, TunnelBytes>>
  readonly meter: EgressMeter
  readonly settle: (exchange: Exchange) => void
}

export interface TunnelEnds {
  readonly exchange: Exchange
  readonly upstream: Duplex
  /** The VM's 101; after CONNECT, where the VM says nothing, an empty one. */
  readonly head: ResponseHead
  /** The VM's first bytes behind its 101. */
  readonly rest: Buffer
}

/** RFC 9110 section 9.3.6: the bytes of a CONNECT begin behind the client's request; the VM sees no HTTP. */
export const NOTHING_SAID: Pick<TunnelEnds, 'head' | 'rest'> = {
  head: { status: 200, reason: '', headers: [], names: [], framing: 'none', length: 0, keepAlive: false },
  rest: Buffer.alloc(0),
}

/** Answers the client's upgrade or CONNECT and copies both ways until both sides have ended. */
export function openTunnel(ends: TunnelEnds, deps: TunnelDeps): void {
  const { exchange, upstream, head, rest } = ends
  const accept = head.names.indexOf('sec-websocket-accept')
  const all = responseFields(head, exchange, deps.edgeName)
  const fields = exchange.version === '2' && accept >= 0 ? withoutAccept(all) : all
  const { stream: client, early } = exchange.openTunnel(fields)
  const { pool } = exchange.record.route ?? {}
  if (pool !== undefined) deps.meter.add(pool, 1, headBytes(head.reason, fields))
  const tunnel = new Tunnel({ exchange, client, upstream }, deps)
  if (rest.length > 0) upstream.unshift(rest)
  if (early.length > 0) {
    exchange.record.bytesIn += early.length
    upstream.write(early)
  }
  tunnel.start()
}

/** RFC 8441 section 5: the key and its answer have no meaning over HTTP/2. */
function withoutAccept(fields: readonly string[]): string[] {
  const at = fields.findIndex((field, index) => index % 2 === 0 && field === 'sec-websocket-accept')
  return fields.toSpliced(at, 2)
}

interface Sides {
  readonly exchange: Exchange
  readonly client: Duplex
  readonly upstream: Duplex
}

class Tunnel implements Watched, OpenTunnel {
  slot = -1
  readonly kind: TunnelKind
  readonly #sides: Sides
  readonly #deps: TunnelDeps
  #progressAt = performance.now()
  #open = 2

  constructor(sides: Sides, deps: TunnelDeps) {
    this.kind = sides.exchange.isConnect ? 'connect' : 'websocket'
    this.#sides = sides
    this.#deps = deps
  }

  start(): void {
    const { client, upstream } = this.#sides
    this.#deps.deadlines.add(this)
    this.#deps.tunnels.add(this)
    this.#copy(client, upstream, 'bytesIn')
    this.#copy(upstream, client, 'bytesOut')
  }

  checkDeadlines(now: number): void {
    if (now - this.#progressAt <= this.#deps.times.tunnelIdleMs) return
    this.#sides.exchange.record.closeReason ??= 'tunnel_idle'
    this[Symbol.dispose]()
  }

  /** Cuts both sides. */
  [Symbol.dispose](): void {
    this.#sides.exchange.abort()
    this.#sides.upstream.destroy()
  }

  #cut(side: Duplex): void {
    if (side === this.#sides.client) this.#sides.exchange.abort()
    else side.destroy()
  }

  #copy(from: Duplex, to: Duplex, counter: 'bytesIn' | 'bytesOut'): void {
    const { record } = this.#sides.exchange
    from.on('data', (chunk: Buffer) => {
      this.#progressAt = performance.now()
      record[counter] += chunk.length
      this.#count(counter, chunk.length)
      if (!to.write(chunk)) from.pause()
    })
    if (from.readableEnded) to.end()
    else from.on('end', () => to.end())
    from.on('drain', () => to.resume())
    from.on('error', (error: NodeJS.ErrnoException) => {
      record.closeReason ??= `${counter === 'bytesIn' ? 'client' : 'upstream'}_${(error.code ?? 'error').toLowerCase()}`
    })
    from.on('close', () => this.#closed(from, to))
    from.resume()
  }

  #count(counter: 'bytesIn' | 'bytesOut', bytes: number): void {
    const { meter, tunnelBytes } = this.#deps
    tunnelBytes[this.kind][counter === 'bytesIn' ? 'in' : 'out'] += bytes
    const { pool } = this.#sides.exchange.record.route ?? {}
    if (counter === 'bytesOut' && pool !== undefined) meter.add(pool, 0, bytes)
  }

  /**
   * A side that closed before both had ended and all was flushed takes the other side with it. Node ends an HTTP/2
   * stream that the client reset as if it were whole, so its own word alone is not enough.
   */
  #closed(side: Duplex, other: Duplex): void {
    const isWhole = side.readableEnded && side.writableFinished && other.readableEnded
    if (!isWhole) this.#cut(other)
    this.#open -= 1
    if (this.#open > 0) return
    const { exchange } = this.#sides
    this.#deps.deadlines.delete(this)
    this.#deps.tunnels.delete(this)
    this.#deps.settle(exchange)
  }
}
