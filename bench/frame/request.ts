/** One request to 127.0.0.1 over HTTP/1.1 or HTTP/2, its answer read whole. */

import { request as requestPlain } from 'node:http'
import { connect as connectH2 } from 'node:http2'
import { request as requestTls } from 'node:https'
import { text } from 'node:stream/consumers'
import type { TLSSocket } from 'node:tls'

export type Protocol = 'plain h1' | 'TLS h1' | 'TLS h2'

export interface Question {
  readonly protocol: Protocol
  readonly port: number
  /** Server name and, with the port, Host. */
  readonly hostname: string
  readonly caPem: string
  readonly path: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly signal: AbortSignal
}

export interface Answer {
  readonly status: number
  readonly body: string
  /** `TLSv1.3` and the like; undefined without TLS. */
  readonly tlsVersion: string | undefined
}

/** @throws Error when no whole answer comes, or the certificate is not one of the CA's for the name */
export function sendRequest(question: Question): Promise<Answer> {
  return question.protocol === 'TLS h2' ? sendH2(question) : sendH1(question)
}

async function sendH1(question: Question): Promise<Answer> {
  const { protocol, port, hostname, caPem, path, method = 'GET', headers, body, signal } = question
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const send = protocol === 'plain h1' ? requestPlain : requestTls
  const options = { host: '127.0.0.1', servername: hostname, ca: caPem, path, method, agent: false, signal }
  const request = send({ ...options, port, headers: { host: `${hostname}:${port}`, ...headers } })
  request.once('error', reject)
  request.once('response', (response) => {
    const tlsVersion = (response.socket as TLSSocket).getProtocol?.() ?? undefined
    text(response).then((body) => resolve({ status: response.statusCode ?? 0, body, tlsVersion }), reject)
  })
  request.end(body)
  return promise
}

async function sendH2({ port, hostname, caPem, path, headers, signal, ...rest }: Question): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const session = connectH2(`https://127.0.0.1:${port}`, { servername: hostname, ca: caPem })
  session.once('error', reject)
  const target = { ':method': rest.method ?? 'GET', ':path': path, ':authority': `${hostname}:${port}` }
  const stream = session.request({ ...target, ...headers }, { signal })
  stream.once('error', reject)
  stream.once('response', (fields) => {
    const tlsVersion = (session.socket as TLSSocket).getProtocol() ?? undefined
    text(stream).then((body) => resolve({ status: Number(fields[':status']), body, tlsVersion }), reject)
  })
  stream.end(rest.body)
  return promise.finally(() => session.destroy())
}
