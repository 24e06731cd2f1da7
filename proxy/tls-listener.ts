/** The HTTPS port: TLS with a certificate by server name, then HTTP/2 or HTTP/1.1 by ALPN. */

import { once } from 'node:events'
import type { Server as HttpServer } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { chooseCertificate, createStapling } from './certificate-choice.ts'
import type { Certificates } from './certificates.ts'
import { createChallengeServer, isChallenge } from './challenge-server.ts'
import { type H1Settings, h1Options, type ServerDeps, serveH1 } from './h1-server.ts'
import { createH2Sessions, type H2Settings } from './h2-server.ts'
import { peekHello } from './hello-peek.ts'
import type { TlsHandshake } from './metrics.ts'
import { contextOf, shareTickets } from './session-tickets.ts'

export interface TlsListenerDeps extends ServerDeps {
  readonly certificates: Omit<Certificates, 'covers'>
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
/** Equal on all edges, or none takes the session of another; Node's own is a digest of the command line. */
const SESSION_CONTEXT = 'landfall'

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
  const refreshTickets = createTicketSharing(server, deps.certificates)
  admitAll(server, { ...deps, refreshTickets }, settings)
  const unfollow = followDefault(server, deps, settings)
  server.on('tlsClientError', (error: NodeJS.ErrnoException) =>
    deps.reportHandshake({ result: error.code ?? 'failed' }),
  )
  server.listen({ host: settings.host, port: settings.port })
  await once(server, 'listening')
  return listenerOf(server, () => {
    unfollow()
    h2.drain()
  })
}

/** To be called with every connection; a renewed default certificate comes with a new context, which has to share too. */
function createTicketSharing(server: Server, { tickets }: Pick<Certificates, 'tickets'>): () => void {
  let refresh = shareTickets(server, tickets)
  let context = contextOf(server)
  return () => {
    if (context !== contextOf(server)) {
      context = contextOf(server)
      refresh = shareTickets(server, tickets)
    }
    refresh()
  }
}

/** Clients without a server name get the renewed certificate as well. When it cannot be read, the old one stays. */
function followDefault(server: Server, deps: TlsListenerDeps, settings: TlsListenerSettings): () => void {
  const { certificates } = deps
  const renew = async () => {
    const { certPem, keyPem } = await certificates.defaultPem()
    server.setSecureContext({ ...tlsOptions(deps, settings), cert: certPem, key: keyPem })
  }
  return certificates.onPlatform(() => void renew().catch(() => {}))
}

/** Early data (0-RTT, RFC 8446 section 8) stays off, as it is in Node: it could be replayed. */
function tlsOptions({ certificates }: TlsListenerDeps, { headersMs }: TlsListenerSettings) {
  return {
    minVersion: 'TLSv1.2',
    ciphers: CIPHERS,
    ecdhCurve: GROUPS,
    honorCipherOrder: true,
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: headersMs,
    sessionIdContext: SESSION_CONTEXT,
    SNICallback: chooseCertificate(certificates),
  } as const
}

/**
 * Node's own listener takes every connection as TLS at once. Ours goes before it, counts the connection and, while a
 * challenge is pending here, looks whether it comes from a CA: Node cannot choose a certificate by ALPN once it has one
 * by server name. A pending challenge is known here before a CA is told of it, so none of its connections slips by.
 */
function admitAll(
  server: Server,
  deps: TlsListenerDeps & { readonly refreshTickets: () => void },
  settings: TlsListenerSettings,
): void {
  const { certificates, clients, reportHandshake, refreshTickets } = deps
  const accept = takeListener<Socket>(server, 'connection')
  const refreshStaples = createStapling(server, certificates)
  const findContext = (serverName: string) => certificates.findAlpnContext(serverName)
  const answer = createChallengeServer({ findContext, reportHandshake }, settings)
  server.on('connection', (socket: Socket) => {
    if (!clients.admit(socket)) return
    refreshTickets()
    refreshStaples()
    if (!certificates.hasAlpnContexts()) accept(socket)
    else
      peekHello(socket, {
        timeoutMs: settings.headersMs,
        onHello: (hello) => {
          if (hello !== undefined && isChallenge(hello)) answer(socket, hello)
          else accept(socket)
        },
        onLost: (code) => reportHandshake({ result: code }),
      })
  })
}

/** Node's own listener takes every TLS connection as HTTP/1; ours goes before it and keeps the HTTP/2 ones. */
function chooseByAlpn(server: Server, deps: TlsListenerDeps, acceptH2: (socket: TLSSocket) => void): void {
  const acceptH1 = takeListener<TLSSocket>(server, 'secureConnection')
  server.on('secureConnection', (socket: TLSSocket) => {
    const seconds = deps.clients.ageMs(socket) / 1_000
    const isResumed = socket.isSessionReused()
    deps.reportHandshake({ result: 'ok', version: socket.getProtocol() ?? '', seconds, isResumed })
    if (socket.alpnProtocol === 'h2') acceptH2(socket)
    else {
      // Not for all sockets: one that ends before its handshake must close.
      socket.allowHalfOpen = true
      acceptH1(socket)
    }
  })
}

/** Takes Node's listener off, to be called for those connections only that are meant for it. */
function takeListener<Connection>(server: Server, event: string): (socket: Connection) => void {
  const [listener] = server.listeners(event)
  if (listener === undefined) throw new Error(`node:https has no listener for ${event}`)
  server.removeAllListeners(event)
  return (socket) => listener.call(server, socket)
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
