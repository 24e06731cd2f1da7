/** A whole edge in this process for one test: memory store, free ports, own folder; it ends with the test. */

import { readFileSync } from 'node:fs'
import { type ClientHttp2Session, connect as connectH2 } from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { Test } from 'tap'
import { loadConfig } from '../../config.ts'
import { type Edge, startEdge } from '../../edge.ts'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import type { Store } from '../../routing/store/store.ts'
import { createListLog, type Line } from './list-log.ts'
import { putTestRoute } from './route.ts'
import { until } from './until.ts'

export interface TestEdge extends Edge {
  readonly store: Store
  readonly ca: string
  readonly adminToken: string
  /** Access log lines, parsed, oldest first. */
  readonly accessLog: Record<string, unknown>[]
  /** What parts logged. */
  readonly logged: readonly Line[]
  /** Adds a public route and waits until the edge knows it. `upstream` is a port on 127.0.0.1. */
  route(hostname: string, upstream: number): Promise<void>
  /** A TLS connection with `hostname` as server name; ALPN http/1.1 unless told otherwise. */
  dial(hostname: string, options?: { readonly alpn?: string[] }): Promise<TLSSocket>
  /** A connection to the plain HTTP port. */
  dialPlain(): Promise<Socket>
  /** An HTTP/2 session for `hostname`. */
  h2(hostname: string): Promise<ClientHttp2Session>
}

/** `env` holds LANDFALL_ settings; by default the plain port relays too, so that raw bytes need no TLS. */
export async function edgeFor(t: Test, env: Record<string, string> = {}): Promise<TestEdge> {
  const accessLog: Record<string, unknown>[] = []
  const log = createListLog()
  const config = loadConfig({
    LANDFALL_DATA: t.testdir(),
    LANDFALL_HTTPS_PORT: '0',
    LANDFALL_HTTP_PORT: '0',
    LANDFALL_OPS_PORT: '0',
    LANDFALL_HTTP_MODE: 'relay',
    LANDFALL_DRAIN_TIMEOUT_MS: '0',
    ...env,
  })
  const store = await startMemoryStore()
  const write = (line: string) => accessLog.push(JSON.parse(line))
  const edge = await startEdge(config, { store, log, accessLog: { write } })
  t.teardown(async () => {
    await edge[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
  })
  const ca = readFileSync(edge.caFile, 'utf8')
  const adminToken = readFileSync(`${config.dataFolder}/admin.token`, 'utf8').trim()
  return {
    ...edge,
    store,
    ca,
    adminToken,
    accessLog,
    logged: log.lines,
    ...clientsOf(t, edge, ca),
    route: routerOf(edge, store, ca),
  }
}

function routerOf(edge: Edge, store: Store, ca: string) {
  return async (hostname: string, upstream: number) => {
    const address = { host: '127.0.0.1', port: upstream }
    const revision = await putTestRoute(store, { hostname, visibility: 'public', upstream: address })
    await until(
      async () => (await revisionOf(edge)) >= revision,
      `route ${hostname} reaches the edge (${ca.length})`,
    )
  }
}

async function revisionOf(edge: Edge): Promise<number> {
  const metrics = await (await fetch(`http://127.0.0.1:${edge.opsPort}/metrics`)).text()
  return Number(/^landfall_table_revision (\d+)/m.exec(metrics)?.[1] ?? 0)
}

function clientsOf(t: Test, edge: Edge, ca: string) {
  return {
    dial: async (hostname: string, { alpn = ['http/1.1'] }: { readonly alpn?: string[] } = {}) => {
      const socket = connectTls({
        host: '127.0.0.1',
        port: edge.httpsPort,
        servername: hostname,
        ca,
        ALPNProtocols: alpn,
      })
      return opened(t, socket, 'secureConnect')
    },
    dialPlain: async () =>
      opened(t, connectTcp({ host: '127.0.0.1', port: edge.httpPort, allowHalfOpen: true }), 'connect'),
    h2: async (hostname: string) => {
      const session = connectH2(`https://${hostname}:${edge.httpsPort}`, {
        ca,
        servername: hostname,
        lookup: (_name, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }] as never, 4),
      })
      t.teardown(() => session.destroy())
      await new Promise<void>((resolve, reject) =>
        session.once('connect', () => resolve()).once('error', reject),
      )
      await new Promise<void>((resolve) => session.once('remoteSettings', () => resolve()))
      return session
    },
  }
}

async function opened<Connection extends Socket>(
  t: Test,
  socket: Connection,
  event: string,
): Promise<Connection> {
  t.teardown(() => socket.destroy())
  await new Promise<void>((resolve, reject) => socket.once(event, () => resolve()).once('error', reject))
  // A test that provokes a reset must not end by an uncaught error.
  socket.on('error', () => {})
  return socket
}
