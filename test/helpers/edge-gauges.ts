/** What an edge says of itself on its operations port. */

import type { Edge } from '../../edge.ts'

/** Open sockets on both sides of the edge. @throws Error when the edge does not tell */
export async function openSockets({ opsPort }: Pick<Edge, 'opsPort'>) {
  const metrics = await (await fetch(`http://127.0.0.1:${opsPort}/metrics`)).text()
  const count = (side: string) => {
    const value = new RegExp(`^edge_sockets_open\\{side="${side}"\\} (\\d+)$`, 'm').exec(metrics)?.[1]
    if (value === undefined) throw new Error(`no edge_sockets_open of side ${side}`)
    return Number(value)
  }
  return { clients: count('client'), upstreams: count('upstream') }
}
