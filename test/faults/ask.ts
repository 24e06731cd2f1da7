/** One HTTPS request to an edge process, for any host name of its domain. */

import { type IncomingMessage, request as requestPlain } from 'node:http'
import { type Agent, request } from 'node:https'
import { text } from 'node:stream/consumers'
import type { EdgeProcess } from './edge-process.ts'
import { DOMAIN } from './numbered-rows.ts'

/** Longer than an edge may ever be stopped by a test; a request that takes as long has failed. */
const SILENCE_MS = 30_000

export interface Question {
  readonly hostname: string
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | undefined
  /** Keeps connections; without it each request has its own. */
  readonly agent?: Agent
}

export interface Answer {
  readonly status: number
  readonly body: string
  /** All cookies that it sets; empty without any. */
  readonly setCookie: string
  /** Empty when it leads nowhere. */
  readonly location: string
}

/** @throws Error when there is no whole answer */
export async function ask(edge: Pick<EdgeProcess, 'httpsPort' | 'ca'>, question: Question): Promise<Answer> {
  const { hostname, method = 'GET', path = '/', headers = {}, body, agent } = question
  const outgoing = request({
    host: '127.0.0.1',
    port: edge.httpsPort,
    // A kept connection is found again by its server name; the platform's certificate covers all names below it.
    servername: agent === undefined ? hostname : DOMAIN,
    ca: edge.ca,
    agent: agent ?? false,
    timeout: SILENCE_MS,
    method,
    path,
    headers: {
      host: hostname,
      ...(body !== undefined && { 'content-length': Buffer.byteLength(body) }),
      ...headers,
    },
  })
  return answerOf(outgoing, body)
}

/** A GET of the operations port. */
export async function askOps({ opsPort }: Pick<EdgeProcess, 'opsPort'>, path: string): Promise<Answer> {
  return answerOf(requestPlain({ host: '127.0.0.1', port: opsPort, path, timeout: SILENCE_MS, agent: false }))
}

async function answerOf(outgoing: ReturnType<typeof request>, body?: string): Promise<Answer> {
  outgoing.on('timeout', () => outgoing.destroy(new Error(`silence for ${SILENCE_MS} ms`)))
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once('response', resolve).once('error', reject).end(body)
  })
  const setCookie = (response.headers['set-cookie'] ?? []).join('\n')
  const { location = '' } = response.headers
  return { status: response.statusCode ?? 0, body: await text(response), setCookie, location }
}
