/** The life of a request, in order; a refusal is a thrown error that `refuse` turns into the answer and the log line. */

import { type AcmeAnswerDeps, answerChallenge } from './acme-answers.ts'
import type { Certificates } from './certificates.ts'
import { type ConnectRouteDeps, getConnectRoute } from './connect-route.ts'
import type { Decisions } from './decisions.ts'
import type { Engine } from './engine.ts'
import { RelayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import type { Gate, Passage } from './gate.ts'
import { answerOwnPath, isOwnTarget, type OwnPathDeps } from './own-paths.ts'
import { checkRequest, type RequestLimits } from './request-check.ts'
import type { RelayRoute } from './upstream.ts'
import type { WakeHolds } from './wake-holds.ts'

export interface HandleDeps extends OwnPathDeps, ConnectRouteDeps, AcmeAnswerDeps {
  readonly limits: RequestLimits
  readonly certificates: Pick<Certificates, 'covers' | 'findLack' | 'findHttpAnswer'>
  /** Where the pages are that this process has on every host: login, keys. */
  readonly ownPages?: RelayRoute
  readonly gate: Pick<Gate, 'find' | 'recheck'>
  readonly decisions: Pick<Decisions, 'hold'>
  readonly holds: Pick<WakeHolds, 'takes' | 'hold'>
  readonly engine: Engine
  readonly refuse: (exchange: Exchange, error: unknown) => void
}

/** Every request, upgrade and CONNECT comes through here, unless the plain port redirects it. */
export function handle(exchange: Exchange, deps: HandleDeps): void {
  try {
    checkRequest(exchange, deps.limits)
    if (answerChallenge(exchange, deps)) return
    checkServerName(exchange, deps)
    if (answerOwnPath(exchange, deps)) return
    relayOrHold(exchange, deps)
  } catch (error) {
    deps.refuse(exchange, error)
  }
}

/**
 * RFC 9110 section 7.4: a certificate that does not cover the host means another edge or policy was asked, or that the
 * host has none yet and was shown the platform's.
 *
 * @throws RelayError route_misdirected, or why the host has no certificate
 */
function checkServerName({ client, authority }: Exchange, { certificates }: HandleDeps): void {
  if (client.tls === undefined || client.lastCoveredHost === authority.host) return
  // Of a lost name the host is the best guess: refusing would shut out clients that resume sessions of TLS 1.2.
  const serverName = client.tls.isNameLost ? authority.host : client.tls.serverName
  if (!certificates.covers(serverName, authority.host))
    throw (
      (serverName === authority.host ? certificates.findLack(authority.host) : undefined) ??
      new RelayError('route_misdirected')
    )
  client.lastCoveredHost = authority.host
}

/** The gate comes first: a stranger must not be able to wake a private VM, nor learn what state it is in. */
function relayOrHold(exchange: Exchange, deps: HandleDeps): void {
  const route = getRoute(exchange, deps)
  if (route.isOwn === true) {
    deps.engine.relay(exchange, route)
    return
  }
  const passage = deps.gate.find(exchange, route)
  if (passage !== undefined) letIn(exchange, { route, passage }, deps)
  else
    deps.decisions.hold({
      exchange,
      route,
      goOn: (exchange, passage) => goOn(exchange, deps, { route, passage }),
    })
}

interface Admission {
  readonly route: RelayRoute
  readonly passage: Passage
}

/** @throws RelayError route_stopped, limit_wake_holds */
function letIn(exchange: Exchange, admission: Admission, deps: HandleDeps): void {
  const { route, passage } = admission
  exchange.record.passage = passage
  if (route.state === 'running') {
    deps.engine.relay(exchange, route)
    return
  }
  if (!deps.holds.takes(route)) throw new RelayError('route_stopped')
  // A proof counts once, so it is not asked for again (RFC 9449 section 11.1).
  const kept = exchange.fields.proofCount > 0 ? admission : undefined
  deps.holds.hold({ exchange, route, goOn: (exchange) => goOn(exchange, deps, kept) })
}

/** @throws RelayError route_unknown, route_port_… */
function getRoute(exchange: Exchange, deps: HandleDeps): RelayRoute {
  const route = findRoute(exchange, deps)
  if (route === undefined) throw new RelayError('route_unknown')
  exchange.record.route = route
  return route
}

function findRoute(exchange: Exchange, deps: HandleDeps): RelayRoute | undefined {
  if (exchange.isConnect) return getConnectRoute(exchange, deps)
  const route = deps.routes.find(exchange.authority.host)
  const isOurs = deps.ownPages !== undefined && route !== undefined && isOwnTarget(exchange.target)
  return isOurs ? deps.ownPages : route
}

/** After a wait the row may be another one: private meanwhile, or of another VM. */
function goOn(exchange: Exchange, deps: HandleDeps, admission: Admission | undefined): void {
  try {
    if (admission === undefined) relayOrHold(exchange, deps)
    else goOnAs(exchange, admission, deps)
  } catch (error) {
    deps.refuse(exchange, error)
  }
}

/** What was decided counts for the place that it was decided for, if it still does. */
function goOnAs(exchange: Exchange, { route, passage }: Admission, deps: HandleDeps): void {
  const now = getRoute(exchange, deps)
  if (now.vm !== route.vm || now.port !== route.port) {
    relayOrHold(exchange, deps)
    return
  }
  deps.gate.recheck(passage, exchange, now)
  letIn(exchange, { route: now, passage }, deps)
}
