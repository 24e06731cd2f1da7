/** An edge with one route, `app.localhost`, to an upstream of the test, and short ways to reach it: plain, TLS, HTTP/2. */

import type { ClientHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { Test } from 'tap'
import { edgeFor, type TestEdge } from './edge.ts'
import { exchange, isWhole, type RawAnswer } from './raw-client.ts'
import { until } from './until.ts'

export const HOST = 'app.localhost'

/** A WebSocket handshake over HTTP/2 (RFC 8441 section 5). */
export const EXTENDED_CONNECT = {
  ':method': 'CONNECT',
  ':protocol': 'websocket',
  ':scheme': 'https',
  ':path': '/',
  ':authority': HOST,
  'sec-websocket-version': '13',
} as const

/** How an HTTP/1.1 client reaches the edge. */
export type Way = 'plain' | 'tls'

export interface RoutedEdge extends TestEdge {
  open(way: Way): Promise<Socket>
  openH2(): Promise<ClientHttp2Session>
  /** Sends exact bytes on a new connection; reads one answer with a Content-Length, or all until it closes. */
  send(request: string, way?: Way): Promise<RawAnswer>
  /** @throws Error when the edge no longer answers, or logged anything as an error */
  checkAlive(): Promise<void>
}

export async function routedEdgeFor(
  t: Test,
  upstream: number,
  env: Record<string, string> = {},
): Promise<RoutedEdge> {
  const edge = await edgeFor(t, env)
  await edge.route(HOST, upstream)
  const open = (way: Way) => (way === 'tls' ? edge.dial(HOST) : edge.dialPlain())
  return {
    ...edge,
    open,
    openH2: () => edge.h2(HOST),
    send: async (request, way = 'plain') => exchange(await open(way), request, isWhole),
    checkAlive: () => checkAlive(edge),
  }
}

async function checkAlive(edge: TestEdge): Promise<void> {
  const request = `GET /.landfall/errors HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`
  const answer = await exchange(await edge.dial(HOST), request, isWhole)
  if (answer.status !== 200) throw new Error(`the edge answers ${answer.status} for its own page`)
  const errors = edge.logged.filter(({ level }) => level === 'error')
  if (errors.length > 0) throw new Error(`the edge logged ${JSON.stringify(errors.map(describe))}`)
}

function describe({ message, err }: TestEdge['logged'][number]): string {
  return `${message}: ${String(err)}`
}

/** Waits until the access log has `count` lines and returns the last of them. */
export async function accessLineFor(edge: TestEdge, count: number): Promise<Record<string, unknown>> {
  await until(() => edge.accessLog.length >= count, `${count} lines in the access log`)
  return edge.accessLog.at(-1) ?? {}
}
