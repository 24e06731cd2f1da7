/** The life of a request, in order; a refusal is a thrown error that `refuse` turns into the answer and the log line. */

import { type ConnectRouteDeps, getConnectRoute } from './connect-route.ts'
import type { Engine } from './engine.ts'
import { RelayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { answerOwnPath, type OwnPathDeps } from './own-paths.ts'
import { checkRequest, type RequestLimits } from './request-check.ts'
import type { RelayRoute } from './upstream.ts'
import type { WakeHolds } from './wake-holds.ts'

export interface HandleDeps extends OwnPathDeps, ConnectRouteDeps {
  readonly limits: RequestLimits
  readonly certificates: { covers(serverName: string | undefined, hostname: string): boolean }
  readonly visibility: { check(route: RelayRoute): void }
  readonly holds: Pick<WakeHolds, 'takes' | 'hold'>
  readonly engine: Engine
  readonly refuse: (exchange: Exchange, error: unknown) => void
}

/** Every request, upgrade and CONNECT comes through here, unless the plain port redirects it. */
export function handle(exchange: Exchange, deps: HandleDeps): void {
  try {
    checkRequest(exchange, deps.limits)
    checkServerName(exchange, deps)
    if (answerOwnPath(exchange, deps)) return
    relayOrHold(exchange, deps)
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

/** Visibility comes first: a stranger must not be able to wake a private VM. */
function relayOrHold(exchange: Exchange, deps: HandleDeps): void {
  const route = getRoute(exchange, deps)
  deps.visibility.check(route)
  if (route.state === 'running') deps.engine.relay(exchange, route)
  else holdOrStop(exchange, route, deps)
}

/** @throws RelayError route_unknown, route_port_… */
function getRoute(exchange: Exchange, deps: HandleDeps): RelayRoute {
  const route = exchange.isConnect
    ? getConnectRoute(exchange, deps)
    : deps.routes.find(exchange.authority.host)
  if (route === undefined) throw new RelayError('route_unknown')
  exchange.record.route = route
  return route
}

/** @throws RelayError route_stopped, limit_wake_holds */
function holdOrStop(exchange: Exchange, route: RelayRoute, deps: HandleDeps): void {
  if (!deps.holds.takes(route)) throw new RelayError('route_stopped')
  deps.holds.hold({ exchange, route, goOn: (exchange) => goOn(exchange, deps) })
}

/** After a hold the row is another one, and may have become private meanwhile. */
function goOn(exchange: Exchange, deps: HandleDeps): void {
  try {
    relayOrHold(exchange, deps)
  } catch (error) {
    deps.refuse(exchange, error)
  }
}
