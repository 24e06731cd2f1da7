/** What an edge says of itself on its operations port. */

import type { Edge } from '../../edge.ts'

/** The value of an unlabelled metric; -1 when there is none of that name. */
export async function gaugeOf({ opsPort }: Pick<Edge, 'opsPort'>, name: string): Promise<number> {
  const metrics = await (await fetch(`http://127.0.0.1:${opsPort}/metrics`)).text()
  return Number(new RegExp(`^${name} ([\\d.e+]+)$`, 'm').exec(metrics)?.[1] ?? -1)
}

/** Open sockets on both sides of the edge. */
export async function openSockets(edge: Pick<Edge, 'opsPort'>) {
  const [clients, upstreams] = await Promise.all([
    gaugeOf(edge, 'edge_client_connections'),
    gaugeOf(edge, 'edge_upstream_connections'),
  ])
  return { clients, upstreams }
}
