/** The operations port: metrics, liveness and readiness, on loopback only. */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Registry } from 'prom-client'
import { type Listener, listenerOf } from './tls-listener.ts'

/** What the edge says of the table that its routes come from. */
export interface TableState {
  readonly source: 'store' | 'snapshot'
  readonly revision: number
  readonly rows: number
  /** For how long the table has not been known to be fresh; Infinity before it was loaded. */
  readonly ageSeconds: number
  /** Records that were refused so far. */
  readonly refused: number
  /** True while the store lost its data and no operator has said that this is meant. */
  readonly held: boolean
}

export interface OpsDeps {
  readonly registry: Registry
  readonly readTable: () => TableState
  /** Why the edge should get no traffic; empty when it should. */
  readonly findUnready: () => readonly string[]
}

/** @throws Error with code EADDRINUSE and the like when the port cannot be had */
export async function startOpsListener(
  deps: OpsDeps,
  settings: { readonly port: number },
): Promise<Listener> {
  const server = createServer((request, response) => {
    answer(request, response, deps).catch((error: Error) => response.destroy(error))
  })
  server.listen({ host: '127.0.0.1', port: settings.port })
  await once(server, 'listening')
  return listenerOf(server, () => {})
}

async function answer(request: IncomingMessage, response: ServerResponse, deps: OpsDeps): Promise<void> {
  switch (request.url?.split('?')[0]) {
    case '/metrics':
      response.setHeader('content-type', deps.registry.contentType)
      response.end(await deps.registry.metrics())
      return
    case '/livez':
      response.end('ok\n')
      return
    case '/readyz': {
      const reasons = deps.findUnready()
      response.statusCode = reasons.length === 0 ? 200 : 503
      response.setHeader('content-type', 'application/json')
      // JSON has no Infinity: the age of a table that was never loaded is null.
      const body = { ready: reasons.length === 0, reasons, table: deps.readTable() }
      response.end(`${JSON.stringify(body)}\n`)
      return
    }
    default:
      response.statusCode = 404
      response.end('GET /metrics, /livez or /readyz\n')
  }
}
