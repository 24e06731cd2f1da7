/** The proxy alone, with a scripted gate and rows that a test changes: no store, no admin API, no login. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type ClientHttp2Session, connect as connectH2 } from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { Test } from 'tap'
import { loadLocalCa } from '../../acme/local-ca.ts'
import { LocalCertificates } from '../../acme/serving/local-certificates.ts'
import { loadConfig } from '../../config.ts'
import type { Certificates } from '../../proxy/certificates.ts'
import { startProxy } from '../../proxy/proxy.ts'
import type { RelayRoute } from '../../proxy/upstream.ts'
import { QUIET_CERTIFICATES } from './quiet-certificates.ts'
import { type ScriptedGate, scriptedGate } from './scripted-gate.ts'

export const HOST = 'app.localhost'

export interface GatedProxy {
  readonly gate: ScriptedGate
  readonly accessLog: Record<string, unknown>[]
  /** VMs that somebody asked to wake. */
  readonly woken: string[]
  /** What was logged as an error. */
  readonly errors: unknown[]
  /** Sets the row of `app.localhost`, which then rings; undefined takes it away. */
  setRow(row: Partial<RelayRoute> | undefined): void
  /** ALPN http/1.1 unless told otherwise. */
  dial(alpn?: readonly string[]): Promise<TLSSocket>
  dialPlain(): Promise<Socket>
  h2(): Promise<ClientHttp2Session>
  metric(name: string): Promise<string[]>
}

export interface GatedSettings {
  /** A port on 127.0.0.1. */
  readonly upstream: number
  readonly row?: Partial<RelayRoute>
  readonly ownPages?: RelayRoute
  readonly guests?: readonly string[]
  /** In place of what the local CA gives. */
  readonly certificates?: Partial<Certificates>
  /** More LANDFALL_ settings. */
  readonly env?: Record<string, string>
}

type Ring = (hostname: string | undefined) => void

export async function gatedProxyFor(t: Test, settings: GatedSettings): Promise<GatedProxy> {
  const rows = new Map<string, RelayRoute>()
  const rings = new Set<Ring>()
  const gate = scriptedGate(...(settings.guests ?? ['ada']))
  const heard = { accessLog: [] as Record<string, unknown>[], woken: [] as string[], errors: [] as unknown[] }
  const setRow = (row: Partial<RelayRoute> | undefined) => {
    if (row === undefined) rows.delete(HOST)
    else rows.set(HOST, { ...privateRow(settings.upstream), ...row })
    for (const ring of rings) ring(HOST)
  }
  setRow(settings.row ?? {})
  const { proxy, ca } = await startFor(t, { ...settings, rows, rings, gate, ...heard })
  const metric = async (name: string) => {
    const text = await (await fetch(`http://127.0.0.1:${proxy.opsPort}/metrics`)).text()
    return text.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
  }
  return { gate, ...heard, setRow, metric, ...waysTo(t, proxy, ca) }
}

function privateRow(port: number): RelayRoute {
  const upstream = { host: '127.0.0.1', port }
  return {
    hostname: HOST,
    visibility: 'private',
    state: 'running',
    generation: 1,
    vm: 'app',
    port: 22,
    upstream,
  }
}

interface Parts extends GatedSettings, Pick<GatedProxy, 'gate' | 'accessLog' | 'woken' | 'errors'> {
  readonly rows: ReadonlyMap<string, RelayRoute>
  readonly rings: Set<Ring>
}

async function startFor(t: Test, parts: Parts) {
  const config = loadConfig({
    LANDFALL_DATA: t.testdir(),
    LANDFALL_HTTPS_PORT: '0',
    LANDFALL_HTTP_PORT: '0',
    LANDFALL_OPS_PORT: '0',
    LANDFALL_HTTP_MODE: 'relay',
    LANDFALL_DRAIN_TIMEOUT_MS: '0',
    ...parts.env,
  })
  const ca = await loadLocalCa(config.dataFolder)
  const silent = () => {}
  const error = (fields: unknown) => void parts.errors.push(fields)
  const log = { debug: silent, info: silent, warn: silent, error }
  const local = new LocalCertificates({ ca, log }, { capacity: 100, now: Date.now })
  const { listen, limits, times } = config
  const proxy = await startProxy(
    {
      gate: parts.gate,
      ...(parts.ownPages !== undefined && { ownPages: parts.ownPages }),
      revocationAgeMs: () => 2_500,
      faults: {},
      routes: routesOf(parts),
      certificates: {
        contextFor: (name = 'localhost') => local.contextFor([name]),
        covers: (serverName = 'localhost', hostname) => serverName === hostname,
        defaultPem: () => ca.issue(['localhost']),
        ...QUIET_CERTIFICATES,
        ...parts.certificates,
      },
      log,
      accessLog: { write: (line: string) => parts.accessLog.push(JSON.parse(line)) },
      meter: { add: silent },
      findUnready: () => [],
      waker: {
        ask: async (vm) => {
          parts.woken.push(vm)
        },
        findState: async () => undefined,
      },
    },
    { listen, times, limits: { ...limits, trustedProxies: [] }, edgeName: 'landfall', loopId: 'localhost' },
  )
  t.teardown(() => proxy[Symbol.asyncDispose]())
  return { proxy, ca: readFileSync(ca.certFile, 'utf8') }
}

function routesOf({ rows, rings }: Pick<Parts, 'rows' | 'rings'>) {
  const onAnyRow = (ring: Ring) => {
    rings.add(ring)
    return () => rings.delete(ring)
  }
  return {
    find: (hostname: string) => rows.get(hostname),
    onRow: (hostname: string, ring: () => void) =>
      onAnyRow((name) => {
        if (name === hostname || name === undefined) ring()
      }),
    onAnyRow,
    status: () => ({ source: 'store' as const, revision: 1, rows: 1, refused: { count: 0 }, held: false }),
    ageMs: () => 0,
  }
}

function waysTo(t: Test, { httpsPort, httpPort }: { httpsPort: number; httpPort: number }, ca: string) {
  const opened = async <Connection extends Socket>(socket: Connection, event: string) => {
    t.teardown(() => socket.destroy())
    await once(socket, event)
    socket.on('error', () => {})
    return socket
  }
  const dial = (alpn: readonly string[] = ['http/1.1']) =>
    opened(
      connectTls({ host: '127.0.0.1', port: httpsPort, servername: HOST, ca, ALPNProtocols: [...alpn] }),
      'secureConnect',
    )
  return {
    dial,
    dialPlain: () =>
      opened(connectTcp({ host: '127.0.0.1', port: httpPort, allowHalfOpen: true }), 'connect'),
    h2: async () => {
      const socket = await dial(['h2'])
      const session = connectH2(`https://${HOST}`, { createConnection: () => socket })
      t.teardown(() => session.destroy())
      session.on('error', () => {})
      await once(session, 'remoteSettings')
      return session
    },
  }
}
