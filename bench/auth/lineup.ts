/** Everything that takes part in the auth benchmark: each proxy as it is, and as it asks for a JWT. */

import { copyFileSync, mkdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { BenchContext } from '../frame/benchmark.ts'
import { findFreePorts } from '../frame/free-ports.ts'
import { startBackend } from '../proxies/backend.ts'
import { haproxyProxy } from '../proxies/haproxy.ts'
import { callApi, landfallProxy } from '../proxies/landfall.ts'
import { nginxProxy } from '../proxies/nginx.ts'
import { type ProxySetup, type ProxySpec, type RunningProxy, startProxy } from '../proxies/proxy.ts'
import { makeCertificate } from '../relay/lineup.ts'
import { haproxyJwt } from './haproxy-jwt.ts'
import { nginxAuthRequest } from './nginx-auth-request.ts'
import { makeTokens, type Tokens } from './tokens.ts'

export interface Candidate {
  readonly proxy: RunningProxy
  readonly product: 'nginx' | 'HAProxy' | 'Landfall'
  /** False for the proxy that lets everybody through: what it costs is what a check is added to. */
  readonly isGuarded: boolean
}

export interface AuthLineup extends AsyncDisposable {
  readonly candidates: readonly Candidate[]
  readonly hostname: string
  readonly caPem: string
  readonly tokens: Tokens
  /** With one token in it. */
  readonly oneTokenFile: string
}

const HOSTNAME = 'bench.localhost'
/** Whom development's first pool belongs to. */
const USER = 'ada@example.test'
const POOL = 'default'
const TOKENS = 1_000
const PORTS_EACH = 3
const CA_FILES = ['ca.pem', 'ca.key']

interface Entry extends Omit<Candidate, 'proxy'> {
  readonly toSpec: (setup: ProxySetup) => ProxySpec
}

export async function startAuthLineup({
  programs,
  folder,
  signal,
}: Pick<BenchContext, 'programs' | 'folder' | 'signal'>): Promise<AuthLineup> {
  await using started = new AsyncDisposableStack()
  const tokens = await makeTokens(folder, { audience: HOSTNAME, user: USER, count: TOKENS })
  const entries = listEntries(tokens)
  const [backendPort = 0, ...ports] = await findFreePorts(1 + entries.length * PORTS_EACH)
  const certificates = await makeCertificate(folder)
  started.use(
    await startBackend(programs.nginx, { folder: join(folder, 'backend'), port: backendPort, signal }),
  )
  const candidates: Candidate[] = []
  for (const { toSpec, ...entry } of entries) {
    const [plain = 0, tls = 0, h2 = 0] = ports.splice(0, PORTS_EACH)
    const name = `${entry.product}-${entry.isGuarded ? 'guarded' : 'open'}`
    const setup = {
      ...{ ...certificates, programs, hostname: HOSTNAME, backendPort, signal },
      ...{ folder: join(folder, name), ports: { plain, tls, h2 } },
    }
    candidates.push({ ...entry, proxy: started.use(await startProxy(toSpec, setup)) })
  }
  const oneTokenFile = join(folder, 'one-token.txt')
  await writeFile(oneTokenFile, `${tokens.list[0]}\n`)
  const running = started.move()
  const { caPem } = certificates
  const facts = { candidates, hostname: HOSTNAME, caPem, tokens, oneTokenFile }
  return { ...facts, [Symbol.asyncDispose]: () => running.disposeAsync() }
}

function listEntries(tokens: Tokens): Entry[] {
  return [
    { product: 'nginx', isGuarded: false, toSpec: nginxProxy },
    { product: 'nginx', isGuarded: true, toSpec: (setup) => nginxAuthRequest(setup, tokens) },
    { product: 'HAProxy', isGuarded: false, toSpec: haproxyProxy },
    { product: 'HAProxy', isGuarded: true, toSpec: (setup) => haproxyJwt(setup, tokens) },
    { product: 'Landfall', isGuarded: false, toSpec: landfallProxy },
    { product: 'Landfall', isGuarded: true, toSpec: (setup) => landfallGuarded(setup, tokens) },
  ]
}

/** The route is made private, of a pool whose owner has the key: all over the admin API. */
function landfallGuarded(setup: ProxySetup, { publicLine, user }: Tokens): ProxySpec {
  const own = { ...setup, caFolder: join(setup.folder, 'data') }
  // A data folder is one process's own; the CA in it is the one that all are checked by.
  mkdirSync(own.caFolder)
  for (const name of CA_FILES) copyFileSync(join(setup.caFolder, name), join(own.caFolder, name))
  const spec = landfallProxy(own)
  return {
    ...spec,
    name: 'Landfall with JWT',
    async prepare() {
      await spec.prepare?.()
      await callApi(own, { method: 'POST', path: '/v1/keys', body: { user, publicKey: publicLine } })
      const route = { upstream: `127.0.0.1:${setup.backendPort}`, visibility: 'private', pool: POOL }
      await callApi(own, { method: 'PUT', path: `/v1/routes/${setup.hostname}`, body: route })
    },
  }
}
