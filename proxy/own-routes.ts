/** Servers inside this process as routes beside those of the table: they live the same life of a request as any VM. */

import type { Duplex } from 'node:stream'
import type { ProxyDeps } from './proxy.ts'
import type { RelayRoute } from './upstream.ts'

export function toOwnRoute(hostname: string, server: { connect(): Duplex }): RelayRoute {
  return {
    hostname,
    // Each asks for credentials of its own, so the edge lets everybody come that far.
    visibility: 'public',
    state: 'running',
    generation: 0,
    isOwn: true,
    dial: () => server.connect(),
  }
}

/** The table, with `own` before it. */
export function withOwnRoutes(table: ProxyDeps['routes'], own: readonly RelayRoute[]): ProxyDeps['routes'] {
  const byName = new Map(own.map((route) => [route.hostname, route]))
  return {
    find: (name) => byName.get(name) ?? table.find(name),
    onRow: (name, ring) => table.onRow(name, ring),
    onAnyRow: (ring) => table.onAnyRow(ring),
    status: () => table.status(),
    ageMs: () => table.ageMs(),
  }
}
