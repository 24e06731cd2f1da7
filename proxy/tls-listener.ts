/** The HTTPS port: TLS with a certificate by server name, then HTTP/2 or HTTP/1.1 by ALPN. */

import { once } from 'node:events'
import type { Server as HttpServer } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { SecureContext, TLSSocket } from 'node:tls'
import { type H1Settings, h1Options, type ServerDeps, serveH1 } from './h1-server.ts'
import { createH2Sessions, type H2Settings } from './h2-server.ts'
import type { TlsHandshake } from './metrics.ts'

export interface TlsListenerDeps extends ServerDeps {
  readonly certificates: {
    contextFor(serverName: string | undefined): Promise<SecureContext>
    /** For clients that send no server name. */
    defaultPem(): Promise<{ readonly certPem: string; readonly keyPem: string }>
  }
  readonly reportHandshake: (handshake: TlsHandshake) => void
}

export interface TlsListenerSettings extends H1Settings, H2Settings {
  readonly host: string
  readonly port: number
}

export interface Listener extends AsyncDisposable {
  readonly port: number
  /** Takes no new connections and asks clients to leave; open requests go on. */
  stopAccepting(): void
}

/** Mozilla's "intermediate" suites without CBC and DHE; the first three are those of TLS 1.3. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')
/** Post-quantum first: a client that offers it gets it without another round trip. */
const GROUPS = 'X25519MLKEM768:X25519:P-256:P-384'

/** @throws Error with code EADDRINUSE and the like when the port cannot be had */
export async function startTlsListener(
  deps: TlsListenerDeps,
  settings: TlsListenerSettings,
): Promise<Listener> {
  const { certPem, keyPem } = await deps.certificates.defaultPem()
  const server = createServer({
    ...h1Options(settings),
    ...tlsOptions(deps, settings),
    cert: certPem,
    key: keyPem,
  })
  serveH1(server, deps)
  const h2 = createH2Sessions(deps, settings)
  chooseByAlpn(server, deps, (socket) => h2.accept(socket))
  server.on('connection', (socket) => deps.clients.admit(socket))
  server.on('tlsClientError', (error: NodeJS.ErrnoException) =>
    deps.reportHandshake({ result: error.code ?? 'failed' }),
  )
  server.listen({ host: settings.host, port: settings.port })
  await once(server, 'listening')
  return listenerOf(server, () => h2.drain())
}

function tlsOptions(deps: TlsListenerDeps, { headersMs }: TlsListenerSettings) {
  return {
    minVersion: 'TLSv1.2',
    ciphers: CIPHERS,
    ecdhCurve: GROUPS,
    honorCipherOrder: true,
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: headersMs,
    SNICallback: (serverName: string, done: (error: Error | null, context?: SecureContext) => void) => {
      deps.certificates.contextFor(serverName).then(
        (context) => done(null, context),
        (error: Error) => done(error),
      )
    },
  } as const
}

/** Node's own listener takes every TLS connection as HTTP/1; ours goes before it and keeps the HTTP/2 ones. */
function chooseByAlpn(server: Server, deps: TlsListenerDeps, acceptH2: (socket: TLSSocket) => void): void {
  const [acceptH1] = server.listeners('secureConnection')
  if (acceptH1 === undefined) throw new Error('node:https has no listener for secureConnection')
  server.removeAllListeners('secureConnection')
  server.on('secureConnection', (socket: TLSSocket) => {
    const seconds = deps.clients.ageMs(socket) / 1_000
    deps.reportHandshake({ result: 'ok', version: socket.getProtocol() ?? '', seconds })
    if (socket.alpnProtocol === 'h2') acceptH2(socket)
    else {
      // Not for all sockets: one that ends before its handshake must close.
      socket.allowHalfOpen = true
      acceptH1.call(server, socket)
    }
  })
}

/** A listening server as a part that can be drained and closed. */
export function listenerOf(server: Server | HttpServer, drain: () => void): Listener {
  const stopAccepting = () => {
    if (server.listening) server.close()
    drain()
  }
  return {
    port: (server.address() as AddressInfo).port,
    stopAccepting,
    async [Symbol.asyncDispose]() {
      stopAccepting()
      server.closeAllConnections()
    },
  }
}
