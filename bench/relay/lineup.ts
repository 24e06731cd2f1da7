/** Everything that takes part in the relay benchmark, started: the backend and each proxy before it. */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { loadLocalCa } from '../../acme/local-ca.ts'
import type { BenchContext } from '../frame/benchmark.ts'
import { findFreePorts } from '../frame/free-ports.ts'
import { startBackend } from '../proxies/backend.ts'
import { haproxyProxy } from '../proxies/haproxy.ts'
import { httpProxy3 } from '../proxies/http-proxy-3.ts'
import { landfallProxy } from '../proxies/landfall.ts'
import { nginxProxy } from '../proxies/nginx.ts'
import { type ProxySetup, type RunningProxy, startProxy } from '../proxies/proxy.ts'

/** In the order of the results; the first is what the others are compared with. */
const PROXIES = [nginxProxy, haproxyProxy, httpProxy3, landfallProxy]
const HOSTNAME = 'bench.localhost'

export interface Lineup extends AsyncDisposable {
  readonly proxies: readonly RunningProxy[]
  /** What every proxy is asked for. */
  readonly hostname: string
  /** Trusting it means trusting every proxy here. */
  readonly caPem: string
}

export async function startLineup(
  context: Pick<BenchContext, 'programs' | 'folder' | 'signal'>,
): Promise<Lineup> {
  const { programs, folder, signal } = context
  await using started = new AsyncDisposableStack()
  const [backendPort = 0, ...ports] = await findFreePorts(1 + PROXIES.length * 3)
  const certificate = await makeCertificate(folder)
  started.use(
    await startBackend(programs.nginx, { folder: join(folder, 'backend'), port: backendPort, signal }),
  )
  const proxies: RunningProxy[] = []
  for (const toSpec of PROXIES) {
    const [plain = 0, tls = 0, h2 = 0] = ports.splice(0, 3)
    const setup: ProxySetup = {
      ...certificate,
      programs,
      folder: join(folder, toSpec.name),
      ports: { plain, tls, h2 },
      hostname: HOSTNAME,
      backendPort,
      signal,
    }
    proxies.push(started.use(await startProxy(toSpec, setup)))
  }
  const running = started.move()
  const { caPem } = certificate
  return { proxies, hostname: HOSTNAME, caPem, [Symbol.asyncDispose]: () => running.disposeAsync() }
}

/** By the CA that Landfall will find in its data folder, so that all certificates are of one kind: P-256. */
export async function makeCertificate(folder: string) {
  const caFolder = join(folder, 'ca')
  await mkdir(caFolder, { recursive: true })
  const ca = await loadLocalCa(caFolder)
  const { certPem, keyPem } = await ca.issue([HOSTNAME])
  const certificate = {
    certFile: join(folder, 'certificate.pem'),
    keyFile: join(folder, 'key.pem'),
    bothFile: join(folder, 'certificate-and-key.pem'),
  }
  await writeFile(certificate.certFile, certPem)
  await writeFile(certificate.keyFile, keyPem, { mode: 0o600 })
  await writeFile(certificate.bothFile, certPem + keyPem, { mode: 0o600 })
  return { caFolder, caPem: ca.certPem, certificate }
}
