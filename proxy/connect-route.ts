/** The route of a CONNECT: a port of the VM whose host name it gives, and nothing else that could be dialled. */

import { RelayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import type { RelayRoute } from './upstream.ts'

export interface ConnectRouteDeps {
  readonly routes: { find(hostname: string): RelayRoute | undefined }
  /**
   * Ports that may be reached as bare bytes. Behind them no server may believe in forwarding fields: on a web port a
   * client could write `X-Forwarded-For` and `X-Landfall-…` itself.
   */
  readonly tunnelPorts: ReadonlySet<number>
}

/**
 * `vm.example.test:22` leads where the row of `22--vm.example.test` leads, or that of `vm.example.test` when 22 is the
 * VM's default port; rows that an operator gave an upstream by hand belong to no VM and are not found.
 * @throws RelayError route_unknown, route_port_web, route_port_unknown
 */
export function getConnectRoute(
  { authority: { host, port = 0 } }: Exchange,
  { routes, tunnelPorts }: ConnectRouteDeps,
): RelayRoute {
  const bare = routes.find(host)
  if (bare === undefined) throw new RelayError('route_unknown')
  if (!tunnelPorts.has(port)) throw new RelayError('route_port_web')
  const route = bare.port === port ? bare : routes.find(`${port}--${host}`)
  if (route?.vm === undefined || route.vm !== bare.vm || route.port !== port)
    throw new RelayError('route_port_unknown')
  return route
}
