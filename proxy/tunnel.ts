/** Joins client and upstream as two byte streams after an upgrade or CONNECT: back-pressure, half-close, idle limit, bytes counted. */

import type { Duplex } from 'node:stream'
import type { Deadlines, Watched } from '../lib/deadlines.ts'
import { type EgressMeter, headBytes } from './egress-meter.ts'
import type { EndableTunnel, Exchange } from './exchange.ts'
import { responseFields } from './response-fields.ts'
import type { ResponseHead } from './response-parser.ts'
import { ACCESS_ENDED_FRAME, FrameEnds } from './websocket-frames.ts'

export type TunnelKind = 'websocket' | 'connect'

export interface OpenTunnel extends Disposable {
  readonly kind: TunnelKind
}

/** How long the VM may take to finish a frame, and then the client to close, before both sides are cut. */
const END_GRACE_MS = 500

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

/** A stranger on a public port stays; when the port becomes private, he is cut without a word. */
function mayEnd({ record: { route, passage } }: Exchange): boolean {
  return route?.visibility !== 'public' || passage?.subject !== undefined
}

class Tunnel implements Watched, OpenTunnel, EndableTunnel {
  slot = -1
  readonly kind: TunnelKind
  readonly #sides: Sides
  readonly #deps: TunnelDeps
  #progressAt = performance.now()
  #open = 2
  /** Of what the VM sends; only where access may end. */
  readonly #frames: FrameEnds | undefined
  #isEnding = false
  #hasSaidEnd = false
  #endTimer: NodeJS.Timeout | undefined

  constructor(sides: Sides, deps: TunnelDeps) {
    this.kind = sides.exchange.isConnect ? 'connect' : 'websocket'
    this.#sides = sides
    this.#deps = deps
    this.#frames = this.kind === 'websocket' && mayEnd(sides.exchange) ? new FrameEnds() : undefined
  }

  start(): void {
    const { client, upstream } = this.#sides
    this.#deps.deadlines.add(this)
    this.#deps.tunnels.add(this)
    this.#sides.exchange.tunnel = this
    this.#copy(client, upstream, 'bytesIn')
    this.#copy(upstream, client, 'bytesOut')
  }

  checkDeadlines(now: number): void {
    if (now - this.#progressAt <= this.#deps.times.tunnelIdleMs) return
    this.#sides.exchange.record.closeReason ??= 'tunnel_idle'
    this[Symbol.dispose]()
  }

  /** A WebSocket is told why, between two frames of the VM, which then sees the end; anything else is cut. */
  endAccess(): void {
    if (this.#isEnding) return
    if (this.#frames === undefined) {
      this[Symbol.dispose]()
      return
    }
    this.#isEnding = true
    const { client } = this.#sides
    // What it sends from now on is not passed on, but its own end has to be seen.
    client.resume()
    this.#setEndTimer()
    if (this.#frames.isBetween) this.#sayEnd()
  }

  #setEndTimer(): void {
    clearTimeout(this.#endTimer)
    this.#endTimer = setTimeout(() => this[Symbol.dispose](), END_GRACE_MS)
  }

  #sayEnd(): void {
    const { client, upstream } = this.#sides
    this.#hasSaidEnd = true
    this.#setEndTimer()
    if (!client.writableEnded) client.end(this.#frames?.hasClose === true ? undefined : ACCESS_ENDED_FRAME)
    // What the VM still sends is not passed on either.
    upstream.end()
    upstream.resume()
  }

  /** True when the bytes must not be copied as they are. */
  #withholds(from: Duplex, chunk: Buffer): boolean {
    if (!this.#isEnding) {
      if (from === this.#sides.upstream) this.#frames?.skip(chunk)
      return false
    }
    if (from === this.#sides.upstream && !this.#hasSaidEnd) this.#finishFrame(chunk)
    return true
  }

  #finishFrame(chunk: Buffer): void {
    const { client, upstream } = this.#sides
    const end = this.#frames?.next(chunk, 0) ?? 0
    if (!client.write(chunk.subarray(0, end))) upstream.pause()
    if (this.#frames?.isBetween === true) this.#sayEnd()
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
      if (this.#withholds(from, chunk)) return
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
    const isLeftToClient = this.#hasSaidEnd && side === this.#sides.upstream
    if (!isWhole && !isLeftToClient) this.#cut(other)
    this.#open -= 1
    if (this.#open > 0) return
    const { exchange } = this.#sides
    clearTimeout(this.#endTimer)
    exchange.tunnel = undefined
    this.#deps.deadlines.delete(this)
    this.#deps.tunnels.delete(this)
    this.#deps.settle(exchange)
  }
}
