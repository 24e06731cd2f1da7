/** Everything that takes part in the TLS benchmark, started: the backend, and each server with one certificate and with many. */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { BenchContext } from '../frame/benchmark.ts'
import { findFreePorts } from '../frame/free-ports.ts'
import { startBackend } from '../proxies/backend.ts'
import { type RunningProxy, startProxy } from '../proxies/proxy.ts'
import { type CertificateFactory, createCertificateFactory, toLeafPem } from './certificate-factory.ts'
import { writeRows } from './landfall-rows.ts'
import { nameOf } from './names.ts'
import { SERVERS, type ServerKind, type ServerSetup, toLeafFile } from './servers.ts'

export interface Candidate {
  readonly server: string
  /** How many names it has certificates for: `nameOf` of each smaller number. */
  readonly names: number
  readonly isOne: boolean
  readonly proxy: RunningProxy
}

export interface TlsLineup extends AsyncDisposable {
  readonly candidates: readonly Candidate[]
  /** Trusting it means trusting every server here. */
  readonly caPem: string
}

const PORTS_EACH = 3

type LineupContext = Pick<BenchContext, 'programs' | 'folder' | 'signal' | 'say'>

/** @throws BenchError when one does not start */
export async function startTlsLineup(context: LineupContext, certificates: number): Promise<TlsLineup> {
  await using started = new AsyncDisposableStack()
  const { programs, folder, signal } = context
  const factory = createCertificateFactory()
  const [backendPort = 0] = await findFreePorts(1)
  started.use(
    await startBackend(programs.nginx, { folder: join(folder, 'backend'), port: backendPort, signal }),
  )
  const candidates: Candidate[] = []
  for (const isOne of [true, false]) {
    const names = isOne ? 1 : certificates
    context.say(`making ${names} certificates`)
    const stock = await writeStock(factory, {
      folder: join(folder, isOne ? 'one' : 'many'),
      names,
      backendPort,
    })
    for (const kind of SERVERS.filter(({ isForMany }) => !isOne || isForMany === undefined)) {
      const proxy = started.use(await startServer(kind, { context, stock, backendPort }))
      candidates.push({ server: kind.name, names, isOne, proxy })
    }
  }
  const running = started.move()
  const { caPem } = factory
  return { candidates, caPem, [Symbol.asyncDispose]: () => running.disposeAsync() }
}

/** The certificates in each form that a server takes them in. */
interface Stock {
  readonly folder: string
  readonly names: readonly string[]
  readonly leafFolder: string
  readonly dataFolder: string
  readonly caPem: string
}

async function writeStock(
  factory: CertificateFactory,
  { folder, names, backendPort }: { folder: string; names: number; backendPort: number },
): Promise<Stock> {
  const leafFolder = join(folder, 'files')
  const dataFolder = join(folder, 'data')
  await mkdir(leafFolder, { recursive: true })
  await mkdir(dataFolder, { mode: 0o700 })
  const leaves = Array.from({ length: names }, (_, index) => factory.make(nameOf(index)))
  for (const leaf of leaves)
    await writeFile(toLeafFile(leafFolder, leaf.name), toLeafPem(leaf), { mode: 0o600 })
  await writeRows(leaves, { folder: dataFolder, backendPort })
  return { folder, names: leaves.map(({ name }) => name), leafFolder, dataFolder, caPem: factory.caPem }
}

interface ServerParts {
  readonly context: LineupContext
  readonly stock: Stock
  readonly backendPort: number
}

async function startServer(kind: ServerKind, { context, stock, backendPort }: ServerParts) {
  const { programs, signal, say } = context
  const [plain = 0, tls = 0, h2 = 0] = await findFreePorts(PORTS_EACH)
  const startedAt = performance.now()
  const hostname = nameOf(0)
  const file = toLeafFile(stock.leafFolder, hostname)
  const setup: ServerSetup = {
    ...{ programs, signal, hostname, backendPort, caPem: stock.caPem },
    folder: join(stock.folder, kind.name),
    ports: { plain, tls, h2 },
    certificate: { certFile: file, keyFile: file, bothFile: file },
    caFolder: stock.dataFolder,
    ...{ names: stock.names, leafFolder: stock.leafFolder },
  }
  const proxy = await startProxy(() => kind.toSpec(setup), setup)
  const seconds = (performance.now() - startedAt) / 1_000
  say(`${kind.name} started with ${stock.names.length} in ${seconds.toFixed(1)} s`)
  return proxy
}
