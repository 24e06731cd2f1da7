/** Edges of this process over one memory store, as a fleet has them; with a small CA and a real name server they order certificates. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { loadConfig } from '../../config.ts'
import { type Edge, startEdge } from '../../edge.ts'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import type { Store } from '../../routing/store/store.ts'
import { PATIENT_MS, PLATFORM } from './acme-edge.ts'
import { type Bind, bindFor } from './bind.ts'
import { type EdgeAnswer, edgeCall } from './edge-call.ts'
import { folderFor } from './folder.ts'
import { createListLog, type Line } from './list-log.ts'
import { putTestRoute, type TestRoute } from './route.ts'
import { type SmallCa, type SmallCaServerOptions, smallCaFor } from './small-ca.ts'
import { until } from './until.ts'

export interface SharingEdge extends Edge {
  readonly name: string
  /** PEM of the local CA and of the small one. */
  readonly ca: string
  readonly logged: readonly Line[]
  readonly accessLog: readonly string[]
}

export interface SharingEdges {
  readonly store: Store
  readonly edges: readonly [SharingEdge, SharingEdge]
  readonly dataFolder: string
  readonly adminToken: string
  /** One more, or one again. */
  readonly startEdge: (name: string) => Promise<SharingEdge>
  /** Written, and known to every edge that was started. */
  readonly route: (route: TestRoute & { readonly port: number }) => Promise<void>
}

export interface SharingOptions {
  readonly env?: Readonly<Record<string, string>>
  /** What clients trust besides the local CA. */
  readonly trusted?: string
}

const BASE = {
  LANDFALL_HTTPS_PORT: '0',
  LANDFALL_HTTP_PORT: '0',
  LANDFALL_OPS_PORT: '0',
  LANDFALL_DRAIN_TIMEOUT_MS: '0',
}

/** Two edges, and one data folder: the local CA, the operator's token and the key of secrets are the same. */
export async function sharingEdgesFor(t: Test, options: SharingOptions = {}): Promise<SharingEdges> {
  const dataFolder = join(folderFor(t), 'data')
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const started = new Set<SharingEdge>()
  const startOne = async (name: string) => {
    const edge = await startNamed({ name, store, dataFolder }, options, () => started.delete(edge))
    started.add(edge)
    t.teardown(() => edge[Symbol.asyncDispose]())
    return edge
  }
  const edges = [await startOne('edge-1'), await startOne('edge-2')] as const
  return {
    ...{ store, edges, dataFolder, startEdge: startOne },
    adminToken: readFileSync(join(dataFolder, 'admin.token'), 'utf8').trim(),
    route: async ({ port, ...route }) => {
      const revision = await putTestRoute(store, { upstream: { host: '127.0.0.1', port }, ...route })
      await untilEdgesKnow([...started], revision)
    },
  }
}

interface Start {
  readonly name: string
  readonly store: Store
  readonly dataFolder: string
}

async function startNamed(
  { name, store, dataFolder }: Start,
  { env = {}, trusted = '' }: SharingOptions,
  onEnd: () => void,
): Promise<SharingEdge> {
  const log = createListLog()
  const accessLog: string[] = []
  const config = loadConfig({ ...BASE, LANDFALL_DATA: dataFolder, LANDFALL_EDGE_NAME: name, ...env })
  const accessWriter = { write: (line: string) => accessLog.push(line) }
  const edge = await startEdge(config, { store, log, accessLog: accessWriter })
  const ca = `${readFileSync(edge.caFile, 'utf8')}\n${trusted}`
  return {
    ...{ ...edge, name, ca, logged: log.lines, accessLog },
    [Symbol.asyncDispose]: () => {
      onEnd()
      return edge[Symbol.asyncDispose]()
    },
  }
}

async function untilEdgesKnow(edges: readonly SharingEdge[], revision: number): Promise<void> {
  for (const edge of edges) {
    const knows = async () => (await gaugeOf(edge, 'landfall_table_revision')) >= revision
    await until(knows, `${edge.name} knows the route`)
  }
}

/** A metric without labels; 0 when there is none. */
export async function gaugeOf({ opsPort }: Pick<Edge, 'opsPort'>, name: string): Promise<number> {
  const metrics = await (await fetch(`http://127.0.0.1:${opsPort}/metrics`)).text()
  return Number(new RegExp(`^${name} (\\S+)`, 'm').exec(metrics)?.[1] ?? 0)
}

export interface OrderingEdges extends SharingEdges {
  readonly smallCa: SmallCa
  readonly bind: Bind
  /** A call of the API by the operator. */
  readonly admin: (method: string, path: string) => Promise<EdgeAnswer>
}

export interface OrderingOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly smallCa?: SmallCaServerOptions
}

/** What edges have to be told to order from this CA, with `dns` as `ip:port` for their look-ups. */
export function orderingSettings({ directory }: SmallCa, dns: string): Record<string, string> {
  return {
    LANDFALL_DOMAIN: PLATFORM,
    LANDFALL_ACME_CAS: directory,
    LANDFALL_ACME_AGREE: 'yes',
    LANDFALL_ADDRESSES: '127.0.0.1',
    LANDFALL_RESOLVERS: dns,
    LANDFALL_HEADERS_TIMEOUT_MS: PATIENT_MS,
  }
}

/** They order for `example.test` by updates of BIND, and for names below `shop.test`, which all lead to them. */
export async function orderingEdgesFor(t: Test, options: OrderingOptions = {}): Promise<OrderingEdges> {
  const smallCa = await smallCaFor(t, options.smallCa)
  const bind = await bindFor(t, {
    zones: { test: '', [PLATFORM]: '@ A 127.0.0.1', 'shop.test': '* A 127.0.0.1' },
  })
  const dns = `${bind.server.host}:${bind.server.port}`
  const sharing = await sharingEdgesFor(t, {
    trusted: smallCa.rootPem,
    env: {
      ...orderingSettings(smallCa, dns),
      LANDFALL_DNS_UPDATE_SERVER: dns,
      LANDFALL_DNS_UPDATE_ZONE: PLATFORM,
      LANDFALL_DNS_UPDATE_KEY_FILE: bind.keyFile,
      ...options.env,
    },
  })
  const { adminToken, edges } = sharing
  const authorization = `Bearer ${adminToken}`
  const hostname = `admin.${PLATFORM}`
  return {
    ...sharing,
    ...{ smallCa, bind },
    admin: (method, path) => edgeCall(edges[0], { hostname, method, path, headers: { authorization } }),
  }
}
