/** The life of a request, in order; a refusal is a thrown error that `refuse` turns into the answer and the log line. */

import type { Engine } from './engine.ts'
import { RelayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { answerOwnPath, type OwnPathDeps } from './own-paths.ts'
import { checkRequest, type RequestLimits } from './request-check.ts'
import type { RelayRoute } from './upstream.ts'

export interface HandleDeps extends OwnPathDeps {
  readonly limits: RequestLimits
  readonly routes: { find(hostname: string): RelayRoute | undefined }
  readonly certificates: { covers(serverName: string | undefined, hostname: string): boolean }
  readonly visibility: { check(route: RelayRoute): void }
  readonly engine: Engine
  readonly refuse: (exchange: Exchange, error: unknown) => void
}

/** Every request, upgrade and extended CONNECT comes through here, unless the plain port redirects it. */
export function handle(exchange: Exchange, deps: HandleDeps): void {
  try {
    checkRequest(exchange, deps.limits)
    checkServerName(exchange, deps)
    if (answerOwnPath(exchange, deps)) return
    const route = getRoute(exchange, deps)
    deps.visibility.check(route)
    checkRunning(route)
    deps.engine.relay(exchange, route)
  } catch (error) {
    deps.refuse(exchange, error)
  }
}

/** RFC 9110 section 7.4: a certificate that does not cover the host means another edge or policy was asked. */
function checkServerName({ client, authority }: Exchange, { certificates }: HandleDeps): void {
  if (client.tls === undefined || client.lastCoveredHost === authority.host) return
  if (!certificates.covers(client.tls.serverName, authority.host)) throw new RelayError('route_misdirected')
  client.lastCoveredHost = authority.host
}

/** @throws RelayError route_unknown */
function getRoute(exchange: Exchange, { routes }: HandleDeps): RelayRoute {
  const route = routes.find(exchange.authority.host)
  if (route === undefined) throw new RelayError('route_unknown')
  exchange.record.route = route
  return route
}

/** @throws RelayError route_stopped */
function checkRunning(route: RelayRoute): void {
  if (route.state !== 'running') throw new RelayError('route_stopped')
}
