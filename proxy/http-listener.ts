/** The plain HTTP port: sends browsers to HTTPS, or relays as it is behind something that ends TLS. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import { answerChallenge } from './acme-answers.ts'
import type { Certificates } from './certificates.ts'
import { RelayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { type H1Settings, h1Options, type ServerDeps, serveH1 } from './h1-server.ts'
import { checkRequest, type RequestLimits } from './request-check.ts'
import { type Listener, listenerOf } from './tls-listener.ts'

export interface HttpListenerSettings extends H1Settings {
  readonly host: string
  readonly port: number
}

/** @throws Error with code EADDRINUSE and the like when the port cannot be had */
export async function startHttpListener(deps: ServerDeps, settings: HttpListenerSettings): Promise<Listener> {
  const server = createServer(h1Options(settings))
  serveH1(server, deps)
  server.on('connection', (socket) => deps.clients.admit(socket))
  server.listen({ host: settings.host, port: settings.port })
  await once(server, 'listening')
  return listenerOf(server, () => {})
}

export interface RedirectDeps {
  readonly routes: { find(hostname: string): unknown }
  readonly certificates: Pick<Certificates, 'covers' | 'findHttpAnswer' | 'findLack'>
  readonly limits: RequestLimits
  readonly refuse: (exchange: Exchange, error: unknown) => void
  readonly settle: (exchange: Exchange) => void
  /** Where HTTPS is served. */
  readonly httpsPort: () => number
}

/**
 * 308 keeps method and body (RFC 9110 section 15.4.9). A host whose certificate is not to be had is told so here: behind
 * the redirect its page would be hidden by a browser's warning. Where nobody has asked for one yet the redirect leads to
 * the handshake that does; a browser must not keep it, for that may fail.
 */
export function redirectToHttps(exchange: Exchange, deps: RedirectDeps): void {
  try {
    checkRequest(exchange, deps.limits)
    if (answerChallenge(exchange, deps)) return
    const { host } = exchange.authority
    // Only to names that are served here: a redirect must not lead wherever a client's Host field says.
    if (deps.routes.find(host) === undefined) throw new RelayError('route_unknown')
    const lack = deps.certificates.findLack(host)
    if (lack !== undefined) throw lack
    const caching = deps.certificates.covers(host, host) ? [] : ['cache-control', 'no-store']
    const fields = ['location', toLocation(exchange, deps), 'content-length', '0', ...caching]
    const headers = [...fields, 'x-request-id', exchange.id]
    exchange.start(308, 'Permanent Redirect', headers, { mayHaveTrailers: false, hasBody: false })
    exchange.end()
    deps.settle(exchange)
  } catch (error) {
    deps.refuse(exchange, error)
  }
}

function toLocation({ authority, target }: Exchange, { httpsPort }: RedirectDeps): string {
  const port = httpsPort()
  const host = authority.text.replace(/:\d+$/, '')
  return `https://${host}${port === 443 ? '' : `:${port}`}${target === '*' ? '/' : target}`
}
