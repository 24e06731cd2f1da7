/** Calls of the admin API over HTTPS, as an operator makes them. */

import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { type Agent, request } from 'node:https'
import { text } from 'node:stream/consumers'

export interface AdminTarget {
  readonly httpsPort: number
  readonly ca: string
  readonly adminToken: string
  /** Keeps connections between calls; without it each call has its own. */
  readonly agent?: Agent
}

export interface AdminAnswer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  /** The parsed body, or an empty object. */
  readonly json: Record<string, unknown>
}

export type AdminCall = (method: string, path: string, body?: unknown) => Promise<AdminAnswer>

export function adminCallOf({ httpsPort, ca, adminToken, agent }: AdminTarget): AdminCall {
  return async (method, path, body) => {
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const outgoing = request({
      host: '127.0.0.1',
      port: httpsPort,
      servername: 'admin.localhost',
      ca,
      method,
      path,
      agent: agent ?? false,
      headers: {
        host: `admin.localhost:${httpsPort}`,
        authorization: `Bearer ${adminToken}`,
        ...(payload !== undefined && {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(payload),
        }),
      },
    })
    outgoing.end(payload)
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    const answered = await text(response)
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      json: answered.startsWith('{') ? JSON.parse(answered) : {},
    }
  }
}
