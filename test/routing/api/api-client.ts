/** An admin API over a memory store, and real HTTP to it through its in-memory connections. */

import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { type AdminApi, startAdminApi } from '../../routing/admin-api.ts'
import { startMemoryStore } from '../../routing/memory-store.ts'
import type { Store } from '../../routing/store.ts'
import { createListLog, type Line } from './logs.ts'

export const TOKEN = 'a-token-of-some-length-for-the-tests'

export interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingMessage['headers']
  readonly text: string
  /** The parsed body, or an empty object. */
  readonly json: Record<string, unknown>
}

export interface Call {
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON, unless it is a text. */
  readonly body?: unknown
  /** The test's own unless given; empty for none. */
  readonly token?: string
}

export interface AdminClient {
  readonly api: AdminApi & AsyncDisposable
  readonly store: Store
  readonly lines: readonly Line[]
  readonly call: (method: string, path: string, call?: Call) => Promise<Answer>
}

export async function adminFor(t: Test, given?: Store): Promise<AdminClient> {
  const store = given ?? (await startMemoryStore())
  const log = createListLog()
  const api = await startAdminApi({ store, log }, { token: TOKEN, domain: 'example.test' })
  t.teardown(async () => {
    await api[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
  })
  return { api, store, lines: log.lines, call: (method, path, call) => send(api, { method, path, ...call }) }
}

async function send(api: AdminApi, call: Call & { method: string; path: string }): Promise<Answer> {
  const { method, path, body, token = TOKEN } = call
  const payload = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
  const headers = {
    host: 'admin.example.test',
    connection: 'close',
    ...(token !== '' && { authorization: `Bearer ${token}` }),
    ...(payload !== undefined && {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(payload),
    }),
    ...call.headers,
  }
  const outgoing = request({ createConnection: () => api.connect(), method, path, headers })
  outgoing.end(payload)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  const answered = await text(response)
  const isJson = response.headers['content-type']?.includes('json') && answered !== ''
  return {
    status: response.statusCode,
    headers: response.headers,
    text: answered,
    json: isJson ? JSON.parse(answered) : {},
  }
}
