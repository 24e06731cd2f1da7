/** The operations port: metrics, liveness and readiness, on loopback only. */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Registry } from 'prom-client'
import { type Listener, listenerOf } from './tls-listener.ts'

export interface OpsDeps {
  readonly registry: Registry
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
      response.end(`${JSON.stringify({ ready: reasons.length === 0, reasons })}\n`)
      return
    }
    default:
      response.statusCode = 404
      response.end('GET /metrics, /livez or /readyz\n')
  }
}
