/** Bytes on an HTTP/1 connection that Node's parser gives up on: who is told, and what happens to sound requests before them. */

import type { Socket } from 'node:net'
import type { ClientRegistry } from './client-registry.ts'
import { RelayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { rawRefusal } from './raw-refusal.ts'
import { createRequestId } from './request-id.ts'

export interface UnreadableDeps {
  readonly clients: ClientRegistry
  readonly edgeName: string
  /** Told of requests that never became an exchange. */
  readonly reportBadRequest: (
    error: RelayError,
    remote: { readonly address: string; readonly requestId: string },
  ) => void
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

export function answerUnreadable(cause: NodeJS.ErrnoException, socket: Socket, deps: UnreadableDeps): void {
  if (!isRequestFault(cause.code ?? '') || !socket.writable) {
    socket.destroy()
    return
  }
  const client = deps.clients.clientOf(socket)
  if (client.isSpent) return
  const error = new RelayError(CODES[cause.code ?? ''] ?? 'request_syntax', { cause })
  client.isSpent = true
  discardRest(socket)
  const { newest } = client
  const isOpen = client.active.size > 0 || client.waiting.length > 0
  if (newest === undefined || !isOpen) refuse(error, socket, deps)
  else if (newest.isBodyComplete) newest.endConnection()
  else refuseUnfinished(newest, error)
}

/** What llhttp says of a client that left in the middle of a body is no fault of syntax. */
function isRequestFault(code: string): boolean {
  return (code.startsWith('HPE_') && code !== 'HPE_INVALID_EOF_STATE') || code === 'ERR_HTTP_REQUEST_TIMEOUT'
}

/** The parser was in the middle of this request; those before it were whole and keep their answers. */
function refuseUnfinished(exchange: Exchange, error: RelayError): void {
  const { active, waiting } = exchange.client
  if (exchange.observer !== undefined) {
    exchange.observer.onFault(error)
  } else if (waiting.length > 0) {
    waiting.pop()
    for (const before of active.snapshot()) before.endConnection()
  } else {
    exchange.abort()
  }
}

function refuse(
  error: RelayError,
  socket: Socket,
  { clients, edgeName, reportBadRequest }: UnreadableDeps,
): void {
  const requestId = createRequestId()
  socket.end(rawRefusal(error, { id: requestId, edgeName }))
  socket.once('finish', () => socket.destroySoon())
  reportBadRequest(error, { address: clients.clientOf(socket).address, requestId })
}

/** More than a client can have under way by mistake. */
const MAX_DISCARDED_BYTES = 1_048_576

/**
 * Throws away what comes behind the last request that counts. A pause would be lighter, but Node reads on at each
 * answer all the same, and the end of a client that is not read is never noticed.
 */
export function discardRest(socket: Socket): void {
  let discarded = 0
  socket.removeAllListeners('data')
  socket.on('data', (chunk: Buffer) => {
    discarded += chunk.length
    if (discarded > MAX_DISCARDED_BYTES) socket.destroy()
  })
  socket.resume()
}
