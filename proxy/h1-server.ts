/** HTTP/1.x from clients: Node's server, told our limits, handing each request on as an exchange. */

import type { IncomingMessage, Server, ServerOptions } from 'node:http'
import type { Socket } from 'node:net'
import type { Exchange } from './exchange.ts'
import { hasToken } from './field-lines.ts'
import { H1Exchange, type H1Request } from './h1-exchange.ts'
import { answerUnreadable, discardRest, type UnreadableDeps } from './unreadable-bytes.ts'
import { UpgradeSocket } from './upgrade-socket.ts'

export interface ServerDeps extends UnreadableDeps {
  readonly handle: (exchange: Exchange) => void
  readonly drainState: { readonly isDraining: boolean }
  /** HTTP/1.1 requests that may wait behind the one under way. */
  readonly pipelineLimit: number
}

export interface H1Settings {
  readonly headerBytes: number
  readonly headersMs: number
  readonly keepAliveMs: number
}

const CHECK_INTERVAL_MS = 500

/** `requestTimeout` is off because it would end slow but healthy uploads; RequestBody keeps its own clock. */
export function h1Options(settings: H1Settings): ServerOptions {
  return {
    maxHeaderSize: settings.headerBytes,
    headersTimeout: settings.headersMs,
    keepAliveTimeout: settings.keepAliveMs,
    requestTimeout: 0,
    connectionsCheckingInterval: CHECK_INTERVAL_MS,
    noDelay: true,
    // A missing Host is refused by checkRequest, with our own answer.
    requireHostHeader: false,
    optimizeEmptyRequests: true,
    // RFC 9110 section 7.8: an Upgrade that nobody takes, such as h2c, is an ordinary request.
    shouldUpgradeCallback: canUpgrade,
  }
}

/** A handshake with a body is refused as a request; one behind an open answer has no socket to take over. */
function canUpgrade(request: IncomingMessage): boolean {
  const { upgrade, 'content-length': length = '0', 'transfer-encoding': coding } = request.headers
  const hasBody = length !== '0' || coding !== undefined
  return upgrade?.toLowerCase() === 'websocket' && !hasBody && !hasOpenResponse(request.socket)
}

/** Node keeps the response that a socket is busy with in this property and tells it nowhere else. */
function hasOpenResponse(socket: Socket): boolean {
  return Boolean((socket as { _httpMessage?: unknown })._httpMessage)
}

/** Attaches the handlers to a plain or TLS server made with `h1Options`. */
export function serveH1(server: Server, deps: ServerDeps): void {
  // Counted by checkRequest; Node's own limit would be told as one of bytes.
  server.maxHeadersCount = 0
  Object.assign(server, { httpAllowHalfOpen: true })
  server.on('request', (request, response) => accept({ request, response }, deps))
  server.on('checkContinue', (request, response) =>
    accept({ request, response, expectsContinue: true }, deps),
  )
  server.on('checkExpectation', (request, response) => accept({ request, response }, deps))
  server.on('upgrade', (request, socket, head) => acceptUpgrade(request, socket as Socket, { head, deps }))
  server.on('connect', (request, socket, head) => acceptUpgrade(request, socket as Socket, { head, deps }))
  server.on('clientError', (error, socket) => answerUnreadable(error, socket as Socket, deps))
}

type Parts = Omit<H1Request, 'client'>

function accept(parts: Parts, deps: ServerDeps): void {
  const client = deps.clients.clientOf(parts.request.socket)
  if (client.isSpent) {
    // Its response is never sent; the answer before it ends the connection.
    return
  }
  if (deps.drainState.isDraining) parts.response.shouldKeepAlive = false
  const exchange = new H1Exchange({ ...parts, client })
  // Node's parser stops at an Upgrade and drops what came behind it, so a client must not wait for more answers.
  if (exchange.fields.upgrade !== '' && hasToken(exchange.fields.connection, 'upgrade'))
    parts.response.shouldKeepAlive = false
  client.newest = exchange
  const start = () => {
    client.active.add(exchange)
    deps.handle(exchange)
  }
  if (client.active.size === 0) start()
  else waitInLine(exchange, start, { limit: deps.pipelineLimit, socket: parts.request.socket })
}

/**
 * RFC 9112 section 9.3.2 lets only safe requests run side by side; one after the other is simpler, and keeps a
 * connection from having more requests under way than HTTP/2 allows it streams. A line that is full ends with its
 * last answer.
 */
function waitInLine(
  exchange: H1Exchange,
  start: () => void,
  { limit, socket }: { readonly limit: number; readonly socket: Socket },
): void {
  const { client } = exchange
  client.waiting.push(start)
  if (client.waiting.length < limit) return
  client.isSpent = true
  exchange.endConnection()
  discardRest(socket)
}

/** A WebSocket handshake or a CONNECT: Node's parser has let go of the socket, so nothing behind it is a request. */
function acceptUpgrade(
  request: IncomingMessage,
  socket: Socket,
  { head, deps }: { head: Buffer; deps: ServerDeps },
): void {
  // Without a listener a reset would be an uncaught error; 'close' tells the exchange.
  socket.on('error', () => {})
  if (!isFree(request, socket)) {
    request.socket.destroy()
    return
  }
  const upgrade = new UpgradeSocket(request, socket, head)
  accept({ request, response: upgrade.response, upgrade }, deps)
}

/** False for a socket that still owes an answer, or that Node has wrapped because a body has not come yet. */
function isFree(request: IncomingMessage, socket: Socket): boolean {
  return socket === request.socket && !hasOpenResponse(socket)
}
