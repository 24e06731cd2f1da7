/** An edge of this process that gets its certificates from Pebble, and the clients that look at what it serves. */

import { connect, type TLSSocket } from 'node:tls'
import type { Test } from 'tap'
import { edgeFor, type TestEdge } from './edge.ts'
import { findFreePort } from './free-port.ts'
import type { Line } from './list-log.ts'
import { type Pebble, type PebbleOptions, pebbleFor } from './pebble.ts'
import { until } from './until.ts'

export const PLATFORM = 'example.test'
/** Handshakes wait for certificates for 8 s at most; what is left is for a slow machine. */
export const PATIENT_MS = '60000'
/** An order that took longer, in all its steps, may have been too late for its first visitor. */
const LATE_MS = 4_000

export interface AcmeEdge {
  readonly pebble: Pebble
  readonly edge: TestEdge
  /** The root that Pebble issues under. */
  readonly root: string
}

export interface AcmeEdgeOptions {
  readonly pebble?: PebbleOptions
  /** LANDFALL_ settings of the edge. */
  readonly env?: Readonly<Record<string, string>>
}

/** Pebble validates at the edge's own ports, which both have to know before they start. */
export async function acmeEdgeFor(
  t: Test,
  { pebble: options = {}, env = {} }: AcmeEdgeOptions,
): Promise<AcmeEdge> {
  const [httpPort, tlsPort] = [await findFreePort(), await findFreePort()]
  const pebble = await pebbleFor(t, { httpPort, tlsPort, ...options })
  const edge = await edgeFor(t, {
    ...settingsOf(pebble),
    LANDFALL_HTTP_MODE: 'redirect',
    LANDFALL_HTTP_PORT: String(httpPort),
    LANDFALL_HTTPS_PORT: String(tlsPort),
    ...env,
  })
  return { pebble, edge, root: await pebble.readRoot() }
}

/** What an edge has to be told to order from this Pebble. */
export function settingsOf({ directory, rootFile, dns }: Pebble): Record<string, string> {
  return {
    LANDFALL_DOMAIN: PLATFORM,
    LANDFALL_ACME_CAS: directory,
    LANDFALL_ACME_AGREE: 'yes',
    LANDFALL_ACME_CONTACT: 'ops@example.test',
    LANDFALL_ACME_CA_FILE: rootFile,
    LANDFALL_ADDRESSES: '127.0.0.1',
    LANDFALL_RESOLVERS: dns.server,
    LANDFALL_HEADERS_TIMEOUT_MS: PATIENT_MS,
  }
}

export interface Served {
  /** Whether a client that trusts `root` alone takes it for the name. */
  readonly isTrusted: boolean
  readonly names: string
  readonly issuer: string
  readonly fingerprint: string
  readonly isResumed: boolean
}

/** What a client is shown that asks for `hostname`. */
export async function readServed(
  port: number,
  { hostname, root }: { readonly hostname: string; readonly root: string },
): Promise<Served> {
  const socket = connect({
    host: '127.0.0.1',
    port,
    servername: hostname,
    ca: root,
    rejectUnauthorized: false,
  })
  try {
    await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject))
    return toServed(socket)
  } finally {
    socket.destroy()
  }
}

/** The first visitor of the first edge waits for the certificate; one whose order took too long sees it later. */
export async function visitFirst(
  edges: readonly { readonly httpsPort: number; readonly logged: readonly Line[] }[],
  question: { readonly hostname: string; readonly root: string },
): Promise<Served> {
  const port = edges[0]?.httpsPort ?? 0
  const served = await readServed(port, question)
  if (served.isTrusted) return served
  const isThere = async () => (await readServed(port, question)).isTrusted
  await until(isThere, `${question.hostname} is served`, 20_000)
  const tookMs = edges
    .flatMap(({ logged }) => logged)
    .filter(({ message, name }) => message === 'certificate order' && name === question.hostname)
    .reduce((sum, { ms }) => sum + Number(ms), 0)
  if (tookMs < LATE_MS) throw new Error(`the first visitor did not wait, though the order took ${tookMs} ms`)
  return readServed(port, question)
}

function toServed(socket: TLSSocket): Served {
  const { subjectaltname = '', issuer, fingerprint256 } = socket.getPeerCertificate()
  return {
    isTrusted: socket.authorized,
    names: subjectaltname,
    issuer: String(issuer?.CN ?? ''),
    fingerprint: fingerprint256,
    isResumed: socket.isSessionReused(),
  }
}
