/** The plain HTTP port: sends browsers to HTTPS, or relays as it is behind something that ends TLS. */

import { once } from 'node:events'
import { createServer } from 'node:http'
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
  readonly limits: RequestLimits
  readonly refuse: (exchange: Exchange, error: unknown) => void
  readonly settle: (exchange: Exchange) => void
  /** Where HTTPS is served. */
  readonly httpsPort: () => number
}

/** 308 keeps method and body (RFC 9110 section 15.4.9). */
export function redirectToHttps(exchange: Exchange, deps: RedirectDeps): void {
  try {
    checkRequest(exchange, deps.limits)
    // Only to names that are served here: a redirect must not lead wherever a client's Host field says.
    if (deps.routes.find(exchange.authority.host) === undefined) throw new RelayError('route_unknown')
    const port = deps.httpsPort()
    const host = exchange.authority.text.replace(/:\d+$/, '')
    const path = exchange.target === '*' ? '/' : exchange.target
    const location = `https://${host}${port === 443 ? '' : `:${port}`}${path}`
    const headers = ['location', location, 'content-length', '0', 'x-request-id', exchange.id]
    exchange.start(308, 'Permanent Redirect', headers, { mayHaveTrailers: false, hasBody: false })
    exchange.end()
    deps.settle(exchange)
  } catch (error) {
    deps.refuse(exchange, error)
  }
}
