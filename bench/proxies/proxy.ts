/** A proxy under measurement: how it is described, and how it is started on its core. */

import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { BenchError } from '../frame/benchmark.ts'
import { startChild } from '../frame/child.ts'
import { PROXY_CORE } from '../frame/cores.ts'
import type { Programs } from '../frame/programs.ts'

/** On 127.0.0.1. */
export interface Ports {
  readonly plain: number
  /** HTTP/1.1 over TLS. */
  readonly tls: number
  /** HTTP/2 over TLS; the same port where ALPN decides. */
  readonly h2: number
}

export interface ProxySetup {
  readonly programs: Programs
  /** The proxy's own; there already. */
  readonly folder: string
  /** Free, and all different. */
  readonly ports: Ports
  readonly hostname: string
  readonly certificate: { readonly certFile: string; readonly keyFile: string; readonly bothFile: string }
  /** Where the local CA is kept, as a data folder of Landfall. */
  readonly caFolder: string
  readonly caPem: string
  readonly backendPort: number
  readonly signal: AbortSignal
}

export interface ProxySpec {
  readonly name: string
  readonly command: readonly string[]
  readonly ports: Ports
  /** Where the command runs, when not in the proxy's folder. */
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  /** Written into the proxy's folder before it starts. */
  readonly config?: { readonly name: string; readonly text: string }
  /** In the proxy's folder; a ring is a file that never grows. */
  readonly accessLog?: { readonly name: string; readonly kind: 'appended' | 'ring' }
  readonly setsRequestId: boolean
  /** How long it may take to open its ports, when that may be long. */
  readonly startMs?: number
  /** What is left to do once its ports are open. */
  prepare?(): Promise<void>
}

export interface RunningProxy extends AsyncDisposable {
  readonly name: string
  readonly ports: Ports
  readonly setsRequestId: boolean
  readCpuMs(): number
  readMemoryMb(): number
  /** @throws BenchError when the access log does not come to hold the text */
  checkLogged(text: string): Promise<void>
  /** Keeps the log from filling the disk. */
  emptyLog(): Promise<void>
}

/** Logs are written in batches, by each proxy at least every quarter of a second. */
const LOGGED_MS = 5_000
const LOG_POLL_MS = 50

export async function startProxy(
  toSpec: (setup: ProxySetup) => ProxySpec,
  setup: ProxySetup,
): Promise<RunningProxy> {
  const { folder, signal } = setup
  await mkdir(folder, { recursive: true })
  const spec = toSpec(setup)
  if (spec.config !== undefined) await writeFile(join(folder, spec.config.name), spec.config.text)
  const child = await startChild({
    core: PROXY_CORE,
    cwd: folder,
    outputFile: join(folder, 'output.log'),
    signal,
    ...spec,
    ports: Object.values(spec.ports),
  })
  await using started = new AsyncDisposableStack()
  started.use(child)
  await spec.prepare?.()
  const running = started.move()
  return {
    ...spec,
    readCpuMs: () => child.readCpuMs(),
    readMemoryMb: () => child.readMemoryMb(),
    checkLogged: (text) => checkLogged(spec, { folder, text, signal }),
    async emptyLog() {
      if (spec.accessLog?.kind === 'appended') await truncate(join(folder, spec.accessLog.name))
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

async function checkLogged(
  { name, accessLog }: ProxySpec,
  { folder, text, signal }: { folder: string; text: string; signal: AbortSignal },
): Promise<void> {
  if (accessLog === undefined) return
  const deadline = performance.now() + LOGGED_MS
  while (!(await readFile(join(folder, accessLog.name), 'latin1')).includes(text)) {
    if (performance.now() > deadline) throw new BenchError(`${name} writes no access log`)
    await delay(LOG_POLL_MS, undefined, { signal })
  }
}
