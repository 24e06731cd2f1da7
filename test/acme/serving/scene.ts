/** Serving as a test sees it: a table in memory, orders that are only counted, and a TLS server to ask. */

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type ConnectionOptions, connect, createServer, type PeerCertificate } from 'node:tls'
import type { Test } from 'tap'
import { loadLocalCa } from '../../../acme/local-ca.ts'
import type { OrderDemand } from '../../../acme/orders/orders.ts'
import { createServing, type Serving, type ServingSettings } from '../../../acme/serving/serving.ts'
import { createFactory, MemoryTable, sealer } from './memory-table.ts'

export const DAY_MS = 86_400_000
export const CLIENT = '198.51.100.7'

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

export interface SceneSettings extends Partial<ServingSettings> {
  /** Host names with a route. */
  readonly served?: readonly string[]
  /** Without a CA the local one makes certificates. */
  readonly isLocal?: boolean
}

export async function servingFor(t: Test, { served = [], isLocal = false, ...settings }: SceneSettings = {}) {
  const table = new MemoryTable()
  const factory = await createFactory()
  const localCa = await loadLocalCa(t.testdir())
  const wants = new Wants()
  const asked: string[] = []
  const lines: string[] = []
  const note = (_: unknown, text: string) => lines.push(text)
  const names = new Set(served)
  const isServed = (name: string) => asked.push(name) > 0 && names.has(name)
  const log = { debug: note, info: note, warn: note, error: note }
  const serving = createServing(
    { ...{ table, sealer, localCa, isServed, log }, ...(isLocal ? {} : { orders: wants }) },
    { domain: 'fall.test', ...settings },
  )
  t.teardown(() => serving[Symbol.dispose]())
  return { table, factory, localCa, wants, asked, lines, names, serving }
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
