/** What the relay needs of a route, and how it dials the upstream behind it. */

import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** A row of the route table as far as the relay reads it. */
export interface RelayRoute {
  readonly hostname: string
  readonly visibility: string
  readonly state: string
  readonly generation: number
  readonly vm?: string
  readonly port?: number
  /** Who is metered; nobody when absent. */
  readonly pool?: string
  readonly upstream?: { readonly host: string; readonly port: number }
  /** Who else is let in; the owner of the pool always is. */
  readonly grants?: readonly RouteGrant[]
  /** `app`: the VM reads Authorization itself, whatever it holds. */
  readonly authorization?: 'app'
  /** In place of `upstream`, for what runs inside this process. */
  readonly dial?: () => Duplex
  /** One of this process's own pages: asked by everybody, and given our cookies and credentials. */
  readonly isOwn?: true
}

export interface RouteGrant {
  readonly id: string
  readonly to: { readonly kind: string; readonly value: string }
  readonly role: string
  /** ISO 8601. */
  readonly expiresAt?: string
}

/** Told of each read, with bytes that are only valid until it returns. */
export type OnRead = (bytes: Buffer) => void

/** One place to send requests; connections are shared by all routes with the same key. */
export interface Upstream {
  readonly key: string
  /** Without `onRead` the stream emits 'data' itself, with bytes that last. */
  readonly dial: (onRead?: OnRead) => Duplex
}

const KEEP_ALIVE_PROBE_MS = 60_000

/** The upstream of a route, undefined when the VM has nothing on the port. */
export function findUpstream(route: RelayRoute): Upstream | undefined {
  if (route.dial !== undefined) {
    return { key: `inside/${route.hostname}`, dial: route.dial }
  }
  if (route.upstream === undefined) return undefined
  const { host, port } = route.upstream
  const owner = route.vm === undefined ? '' : `${route.vm}@${route.generation}/`
  return { key: `${owner}${host}:${port}`, dial: (onRead) => dialTcp({ host, port }, onRead) }
}

/** All connections read into the same bytes: a buffer for each read cost 5 µs a request, most of it collecting them. */
const readBuffer = Buffer.allocUnsafeSlow(65_536)

function dialTcp(address: { host: string; port: number }, onRead: OnRead | undefined): Socket {
  const options = {
    ...address,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS,
    allowHalfOpen: true,
  }
  if (onRead === undefined) return connect(options)
  const callback = (length: number) => {
    onRead(readBuffer.subarray(0, length))
    return true
  }
  return connect({ ...options, onread: { buffer: readBuffer, callback } })
}
