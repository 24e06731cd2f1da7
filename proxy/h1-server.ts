/** HTTP/1.x from clients: Node's server, told our limits, handing each request on as an exchange. */

import type { IncomingMessage, Server, ServerOptions } from 'node:http'
import type { Socket } from 'node:net'
import type { ClientConnection } from './client-connection.ts'
import type { ClientRegistry } from './client-registry.ts'
import { RelayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { hasToken } from './field-lines.ts'
import { H1Exchange, type H1Request } from './h1-exchange.ts'
import { rawRefusal } from './raw-refusal.ts'
import { createRequestId } from './request-id.ts'
import { responseFor, UpgradeSocket } from './upgrade-socket.ts'

export interface ServerDeps {
  readonly clients: ClientRegistry
  readonly handle: (exchange: Exchange) => void
  /** Told of requests that never became an exchange. */
  readonly reportBadRequest: (
    error: RelayError,
    remote: { readonly address: string; readonly requestId: string },
  ) => void
  readonly edgeName: string
  readonly drain: { readonly isDraining: boolean }
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

/** Node starts to read again after each request and at each drain, so a mere pause lets 64 KiB in per answer. */
function stopReading(socket: Socket): void {
  socket.pause()
  socket.resume = () => socket
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
  server.on('connect', (request, socket) => refuseConnect(request, socket as Socket, deps))
  server.on('clientError', (error, socket) => answerClientError(error, socket as Socket, deps))
}

type Parts = Omit<H1Request, 'client'>

function accept(parts: Parts, deps: ServerDeps): void {
  const client = deps.clients.clientOf(parts.request.socket)
  if (client.isSpent) {
    // Its response is never sent; Node would go on to parse and keep what comes behind it.
    stopReading(parts.request.socket)
    return
  }
  if (deps.drain.isDraining) parts.response.shouldKeepAlive = false
  const exchange = new H1Exchange({ ...parts, client })
  // Node's parser stops at an Upgrade and drops what came behind it, so a client must not wait for more answers.
  if (exchange.fields.upgrade !== '' && hasToken(exchange.fields.connection, 'upgrade'))
    parts.response.shouldKeepAlive = false
  const start = () => {
    client.active.add(exchange)
    deps.handle(exchange)
  }
  if (client.active.size === 0) start()
  else waitInLine(exchange, start, deps.pipelineLimit)
}

/**
 * RFC 9112 section 9.3.2 lets only safe requests run side by side; one after the other is simpler, and keeps a
 * connection from having more requests under way than HTTP/2 allows it streams. A line that is full ends with its
 * last answer.
 */
function waitInLine(exchange: H1Exchange, start: () => void, limit: number): void {
  const { client } = exchange
  client.waiting.push(start)
  if (client.waiting.length < limit) return
  client.isSpent = true
  exchange.endConnection()
}

function acceptUpgrade(
  request: IncomingMessage,
  socket: Socket,
  { head, deps }: { head: Buffer; deps: ServerDeps },
): void {
  // Without a listener a reset would be an uncaught error; 'close' tells the exchange.
  socket.on('error', () => {})
  if (hasOpenResponse(socket) || socket !== request.socket) {
    request.socket.destroy()
    return
  }
  const upgrade = new UpgradeSocket(request, socket, head)
  accept({ request, response: upgrade.response, upgrade }, deps)
}

function refuseConnect(request: IncomingMessage, socket: Socket, deps: ServerDeps): void {
  socket.on('error', () => {})
  if (hasOpenResponse(socket) || socket !== request.socket) {
    request.socket.destroy()
    return
  }
  accept({ request, response: responseFor(request, socket) }, deps)
}

/** What llhttp says of a client that left in the middle of a body is no fault of syntax. */
function isRequestFault(code: string): boolean {
  return (code.startsWith('HPE_') && code !== 'HPE_INVALID_EOF_STATE') || code === 'ERR_HTTP_REQUEST_TIMEOUT'
}

/** Bytes that are not HTTP belong to the request that came last; those before it were whole. */
function blameLast(client: ClientConnection, error: RelayError): void {
  const last = client.active.snapshot().at(-1)
  if (last?.observer === undefined) last?.abort()
  else last.observer.onClientFault(error)
}

const CODES: Readonly<Record<string, RelayError['code']>> = {
  HPE_HEADER_OVERFLOW: 'limit_header_bytes',
  ERR_HTTP_REQUEST_TIMEOUT: 'limit_slow_headers',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'limit_header_bytes',
  HPE_UNEXPECTED_CONTENT_LENGTH: 'request_framing',
  HPE_INVALID_CONTENT_LENGTH: 'request_framing',
  HPE_INVALID_TRANSFER_ENCODING: 'request_framing',
  HPE_INVALID_CHUNK_SIZE: 'request_framing',
  HPE_INVALID_URL: 'request_target',
}

function answerClientError(cause: NodeJS.ErrnoException, socket: Socket, deps: ServerDeps): void {
  if (!isRequestFault(cause.code ?? '') || !socket.writable) {
    socket.destroy()
    return
  }
  const client = deps.clients.clientOf(socket)
  if (client.isSpent) return
  const error = new RelayError(CODES[cause.code ?? ''] ?? 'request_syntax', { cause })
  if (client.active.size > 0) {
    blameLast(client, error)
    return
  }
  const id = createRequestId()
  socket.end(rawRefusal(error, { id, edgeName: deps.edgeName }))
  socket.once('finish', () => socket.destroySoon())
  deps.reportBadRequest(error, { address: client.address, requestId: id })
}
