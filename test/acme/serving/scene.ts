/** Serving as a test sees it: a table over a memory store, orders that are only counted, and a TLS server to ask. */

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type ConnectionOptions, connect, createServer, type PeerCertificate } from 'node:tls'
import type { Test } from 'tap'
import type { CertificateTable } from '../../../acme/books.ts'
import { type IssuedCertificate, loadLocalCa } from '../../../acme/local-ca.ts'
import type { OrderDemand } from '../../../acme/orders/orders.ts'
import type { CertificateRow, OrderRow } from '../../../acme/rows.ts'
import { createServing, type Serving, type ServingSettings } from '../../../acme/serving/serving.ts'
import { bedFor, deleteRows, putOrderRow, putRows } from '../../helpers/certificate-bed.ts'
import { orderOf } from '../../helpers/certificate-rows.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { SEALER } from '../../helpers/sealer.ts'

export const DAY_MS = 86_400_000
export const CLIENT = '198.51.100.7'

/** Nothing is stapled, and no session resumed. */
export const QUIET = {
  staples: { size: 0, notice: () => {}, find: () => undefined },
  tickets: { sealing: undefined, find: () => undefined },
}

/** Notes what is asked of it. */
export class Wants {
  readonly names: string[] = []
  failing = false

  want({ name, keyType }: OrderDemand): Promise<void> {
    this.names.push(`${name}/${keyType}`)
    return this.failing ? Promise.reject(new Error('the store is away')) : Promise.resolve()
  }

  counts(): ReadonlyMap<string, number> {
    return new Map()
  }
}

/** What the local CA is asked for. */
export class Issues {
  readonly names: string[] = []
  failing = false
  readonly #issue: (names: readonly string[]) => Promise<IssuedCertificate>

  constructor(issue: (names: readonly string[]) => Promise<IssuedCertificate>) {
    this.#issue = issue
  }

  issue(names: readonly string[]): Promise<IssuedCertificate> {
    this.names.push(names.join(' '))
    return this.failing ? Promise.reject(new Error('disk full')) : this.#issue(names)
  }
}

export interface SceneSettings extends Partial<ServingSettings> {
  /** Host names with a route. */
  readonly served?: readonly string[]
  /** Without a CA the local one makes certificates. */
  readonly isLocal?: boolean
}

export async function servingFor(t: Test, options: SceneSettings = {}) {
  const { served = [], isLocal = false, ...settings } = options
  const bed = await bedFor(t)
  const { table, counts } = watched(bed.table)
  const localCa = await loadLocalCa(t.testdir(), settings.now ? { now: settings.now } : {})
  const issues = new Issues((wanted) => localCa.issue(wanted))
  const wants = new Wants()
  const asked: string[] = []
  const names = new Set(served)
  const isServed = (name: string) => asked.push(name) > 0 && names.has(name)
  const log = createListLog()
  const serving = createServing(
    {
      ...{ ...QUIET, table, sealer: SEALER, localCa: issues, isServed, log },
      ...(isLocal ? {} : { orders: wants }),
    },
    { domain: 'fall.test', keyTypes: ['ec'], ...settings },
  )
  t.teardown(() => serving[Symbol.dispose]())
  return {
    ...{ counts, localCa, issues, wants, asked, names, serving },
    /** What it logged. */
    said: () => log.lines.map(({ message }) => message),
    put: (...rows: readonly CertificateRow[]) => putRows(bed, rows),
    /** One that has just begun, unless told otherwise. */
    putOrder: (name: string, changes: Partial<OrderRow> = {}) =>
      putOrderRow(bed, orderOf(name, { createdAt: new Date().toISOString(), ...changes })),
    /** Its certificates and orders. */
    remove: (name: string) => deleteRows(bed, name),
  }
}

/** Counts look-ups by host name, and who listens. */
function watched(table: CertificateTable) {
  const listeners = new Set<object>()
  const counts = { finds: 0, listeners: () => listeners.size }
  const listen = (begin: (ring: () => void) => () => void) => (ring: () => void) => {
    const end = begin(ring)
    listeners.add(end)
    return () => {
      listeners.delete(end)
      end()
    }
  }
  const get = (object: CertificateTable, key: string | symbol) => {
    if (key === 'find') counts.finds += 1
    const value: unknown = Reflect.get(object, key, object)
    if (typeof value !== 'function') return value
    return String(key).startsWith('on') ? listen(value.bind(object)) : value.bind(object)
  }
  return { table: new Proxy(table, { get }), counts }
}

/** A TLS server that asks `serving` as the edge does. */
export async function tlsPortFor(t: Test, serving: Serving): Promise<number> {
  const server = createServer({
    SNICallback(name, done) {
      const client = {
        takesEcdsa: () => {
          const socket = this as unknown as { getSharedSigalgs(): string[] }
          return socket.getSharedSigalgs().some((it) => it.startsWith('ECDSA'))
        },
      }
      Promise.resolve(serving.contextFor(name, CLIENT, client)).then((context) => done(null, context), done)
    },
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

/** The certificate that a client of that name is shown. */
export async function dial(
  port: number,
  servername: string,
  options: ConnectionOptions = {},
): Promise<PeerCertificate> {
  const socket = connect({ host: '127.0.0.1', port, servername, rejectUnauthorized: false, ...options })
  await once(socket, 'secureConnect')
  const certificate = socket.getPeerCertificate()
  socket.destroy()
  return certificate
}

/** Each: what a client named, what it asks for over that connection, and whether the certificate is good for it. */
export function checkCovers(
  t: Test,
  serving: Serving,
  cases: readonly (readonly [string | undefined, string, boolean])[],
): void {
  for (const [serverName, hostname, expected] of cases)
    t.equal(serving.covers(serverName, hostname), expected, `${serverName} covers ${hostname}: ${expected}`)
}
