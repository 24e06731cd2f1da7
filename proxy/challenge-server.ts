/** Answers tls-alpn-01 (RFC 8737): a handshake with the challenge's certificate and not a byte more. */

import type { Socket } from 'node:net'
import { createServer, type SecureContext, type TLSSocket } from 'node:tls'
import type { Certificates } from './certificates.ts'
import type { ClientHello } from './client-hello.ts'
import type { TlsHandshake } from './metrics.ts'

const ACME_TLS = 'acme-tls/1'

/** A fatal alert, unrecognized_name (RFC 6066 section 3), as a record of its own. */
const UNRECOGNIZED_NAME = Buffer.from([21, 3, 3, 0, 2, 2, 112])

export interface ChallengeServerDeps {
  readonly findContext: Certificates['findAlpnContext']
  readonly reportHandshake: (handshake: TlsHandshake) => void
}

/** RFC 8737 section 3: a CA offers this protocol and no other. */
export function isChallenge({ protocols }: ClientHello): boolean {
  return protocols.length === 1 && protocols[0] === ACME_TLS
}

/** Takes sockets whose hello is a challenge's, with its bytes still to be read. */
export function createChallengeServer(
  { findContext, reportHandshake }: ChallengeServerDeps,
  { headersMs }: { readonly headersMs: number },
): (socket: Socket, hello: ClientHello) => void {
  const server = createServer({
    minVersion: 'TLSv1.2',
    ALPNProtocols: [ACME_TLS],
    handshakeTimeout: headersMs,
    SNICallback: (serverName: string, done: (error: Error | null, context?: SecureContext) => void) =>
      done(null, findContext(serverName.toLowerCase())),
  })
  server.on('tlsClientError', (error: NodeJS.ErrnoException) =>
    reportHandshake({ result: error.code ?? 'failed' }),
  )
  server.on('secureConnection', (socket: TLSSocket) => {
    reportHandshake({ result: 'challenge', version: socket.getProtocol() ?? '' })
    socket.on('error', () => {})
    socket.destroySoon()
  })
  return (socket, { serverName }) => {
    if (serverName !== undefined && findContext(serverName) !== undefined) server.emit('connection', socket)
    else refuse(socket, reportHandshake)
  }
}

function refuse(socket: Socket, reportHandshake: ChallengeServerDeps['reportHandshake']): void {
  reportHandshake({ result: 'unrecognized_name' })
  socket.on('error', () => {})
  socket.write(UNRECOGNIZED_NAME)
  socket.destroySoon()
}
