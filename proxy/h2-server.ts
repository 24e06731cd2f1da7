/** HTTP/2 from clients: sessions on TLS sockets that chose it, each stream handed on as an exchange. */

import { createServer, type ServerHttp2Session } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import type { ClientConnection } from './client-connection.ts'
import type { ServerDeps } from './h1-server.ts'
import { H2Exchange } from './h2-exchange.ts'

export interface H2Settings {
  readonly streams: number
  readonly headerBytes: number
  readonly headerCount: number
  readonly keepAliveMs: number
}

/** Four times the default of 64 KiB: one stream fills 100 Mbit/s at 20 ms; RFC 9113 section 6.9. */
const STREAM_WINDOW_BYTES = 262_144
const SESSION_WINDOW_BYTES = 1_048_576
const CLOSE_GRACE_MS = 1_000
/** Pseudo-header fields are counted as well. */
const PSEUDO_FIELDS = 6

export interface H2Sessions {
  /** Speaks HTTP/2 on a socket whose ALPN result was h2. */
  accept(socket: TLSSocket): void
  /** Sends GOAWAY on every session: open streams go on, no new ones come. */
  drain(): void
}

export function createH2Sessions(deps: ServerDeps, settings: H2Settings): H2Sessions {
  const sessions = new Set<ServerHttp2Session>()
  const server = createServer(h2Options(settings))
  server.on('sessionError', () => {})
  // The session's own `socket` is a proxy that refuses most reads, so the client's facts come from ours.
  let accepting: ClientConnection | undefined
  server.on('session', (session) => {
    if (accepting === undefined) return
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
    serveSession(session, { client: accepting, deps, settings })
  })
  return {
    accept(socket) {
      accepting = deps.clients.clientOf(socket)
      // HTTP/2 knows no half-closed connections, and Node ends a session only when its socket closes.
      socket.allowHalfOpen = false
      socket.once('end', () => socket.destroy())
      server.emit('connection', socket)
      accepting = undefined
    },
    drain() {
      for (const session of sessions) session.close()
    },
  }
}

function h2Options(settings: H2Settings): Parameters<typeof createServer>[0] & object {
  return {
    // More than the limit, so that a request above it gets our 431 and not a bare reset.
    maxHeaderListPairs: settings.headerCount * 2 + PSEUDO_FIELDS,
    // A VM may repeat any field; Node would throw for those that it thinks single.
    strictSingleValueFields: false,
    settings: {
      enableConnectProtocol: true,
      enablePush: false,
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxConcurrentStreams: settings.streams,
      maxHeaderListSize: settings.headerBytes,
    },
  }
}

interface SessionParts {
  readonly client: ClientConnection
  readonly deps: ServerDeps
  readonly settings: H2Settings
}

function serveSession(session: ServerHttp2Session, { client, deps, settings }: SessionParts): void {
  session.setLocalWindowSize(SESSION_WINDOW_BYTES)
  session.on('error', () => {})
  let open = 0
  session.setTimeout(settings.keepAliveMs, () => {
    if (open === 0) closeIdle(session)
  })
  session.on('stream', (stream, headers, _flags, rawHeaders) => {
    open += 1
    const exchange = new H2Exchange({ stream, headers, rawHeaders, client })
    stream.on('error', ignore)
    stream.on('close', () => {
      open -= 1
      exchange.observer?.onClientGone()
      client.active.delete(exchange)
    })
    client.active.add(exchange)
    deps.handle(exchange)
  })
}

/** A stream's error is told by its 'close' as well. */
function ignore(): void {}

/** `close` waits for a stream whose header block never ends, so it gets a moment and no more. */
function closeIdle(session: ServerHttp2Session): void {
  session.close()
  const timer = setTimeout(() => session.destroy(), CLOSE_GRACE_MS)
  timer.unref()
  session.once('close', () => clearTimeout(timer))
}
