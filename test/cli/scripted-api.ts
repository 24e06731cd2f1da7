/** An HTTPS server that answers as a test says, and writes down what it was asked. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { loadLocalCa } from '../../acme/local-ca.ts'
import { folderFor } from '../helpers/folder.ts'

export interface Call {
  readonly method: string
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly headers: IncomingHttpHeaders
  /** The parsed body; undefined without one. */
  readonly body: unknown
  /** The server name that the client named. */
  readonly host: string
}

export interface ScriptedAnswer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** JSON unless it is a text. */
  readonly body?: unknown
}

/** Undefined where the script has written the answer itself, or never will. */
export type Script = (call: Call, response: ServerResponse) => ScriptedAnswer | undefined

/** Asked for each CONNECT, whose `path` is its authority; undefined opens the tunnel, which then says `hello`. */
export type ConnectScript = (call: Call) => ScriptedAnswer | undefined

export interface ScriptedApi {
  /** `https://admin.localhost:PORT`. */
  readonly url: string
  readonly port: number
  readonly caFile: string
  readonly ca: string
  readonly calls: Call[]
  /** How many connections were made. */
  readonly connections: () => number
}

const NAMES = ['admin.localhost', 'web.localhost', 'brave-fox.localhost', 'web.other.localhost']
export const TOKEN = 'lf_abcdefghijkl_secret'

export async function scriptedApiFor(t: Test, script: Script, connect?: ConnectScript): Promise<ScriptedApi> {
  const folder = folderFor(t)
  const ca = await loadLocalCa(folder)
  const { certPem, keyPem } = await ca.issue(NAMES)
  const calls: Call[] = []
  const sockets = new Set<Socket>()
  let connections = 0
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? '', 'https://admin.localhost')
    const body = await text(request)
    const call = {
      method: request.method ?? '',
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: request.headers,
      body: body === '' ? undefined : JSON.parse(body),
      host: (request.headers.host ?? '').replace(/:\d+$/, ''),
    }
    calls.push(call)
    const scripted = script(call, response)
    if (scripted !== undefined) send(response, scripted)
  }
  const server = createServer({ cert: certPem, key: keyPem }, (request, response) => {
    answer(request, response).catch((error: Error) => response.destroy(error))
  })
  if (connect) server.on('connect', (request, socket) => answerConnect(request, socket, { calls, connect }))
  server.on('connection', (socket) => {
    connections += 1
    sockets.add(socket)
    socket.on('error', () => {})
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const url = `https://admin.localhost:${port}`
  const pem = readFileSync(ca.certFile, 'utf8')
  return { url, port, caFile: ca.certFile, ca: pem, calls, connections: () => connections }
}

function answerConnect(
  { headers, url = '' }: IncomingMessage,
  socket: Duplex,
  { calls, connect }: { readonly calls: Call[]; readonly connect: ConnectScript },
): void {
  const host = (headers.host ?? '').replace(/:\d+$/, '')
  const call = { method: 'CONNECT', path: url, query: {}, headers, body: undefined, host }
  calls.push(call)
  socket.on('error', () => {})
  const { status = 200, body } = connect(call) ?? {}
  const text = body === undefined ? '' : JSON.stringify(body)
  socket.end(`HTTP/1.1 ${status} x\r\n\r\n${status === 200 ? 'hello' : text}`)
}

function send(response: ServerResponse, { status = 200, headers = {}, body }: ScriptedAnswer): void {
  const isText = typeof body === 'string'
  const type = isText ? 'text/plain' : status >= 400 ? 'application/problem+json' : 'application/json'
  response.writeHead(status, { 'content-type': type, ...headers })
  response.end(body === undefined ? undefined : isText ? body : JSON.stringify(body))
}

/** A problem as the API writes it. */
export function problem(status: number, code: string, more: object = {}): ScriptedAnswer {
  const body = {
    type: 'about:blank',
    title: `The title of ${code}`,
    status,
    code,
    next: `What to do about ${code}.`,
  }
  return { status, body: { ...body, retryable: status >= 500, requestId: 'req-1', ...more } }
}
