/** Runs an edge, a host, or both in one process until a signal ends them. */

import { once } from 'node:events'
import { fstatSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { destination, pino } from 'pino'
import { type Config, loadConfig } from './config.ts'
import { type Edge, startEdge } from './edge.ts'
import { type Host, type HostDeps, startHost } from './host.ts'
import { prepareDevelopment } from './images.ts'
import { SettingsError } from './lib/env-reader.ts'
import { LandfallError } from './lib/errors.ts'
import { openStore } from './routing/store/open-store.ts'

export type Server = 'dev' | 'edge' | 'host'

/**
 * Log lines are gathered for a quarter of a second or 60 kB. A file takes them at once; whatever else may be slow
 * to take them, and is written to by a thread, which costs 4 µs a request more.
 */
const LOG_OPTIONS = {
  fd: 2,
  minLength: 60_000,
  maxWrite: 65_536,
  periodicFlush: 250,
  // A reader of standard error that stands still costs lines, not memory without end.
  maxLength: 67_108_864,
}

const NEVER = new Promise<never>(() => {})

/** Until SIGINT or SIGTERM, or until another process runs as this host; a second signal does not wait for open requests. */
export async function serve(server: Server): Promise<void> {
  try {
    const config = loadConfig(process.env)
    checkStore(server, config)
    const logDestination = destination({ ...LOG_OPTIONS, sync: fstatSync(2).isFile() })
    process.once('exit', () => logDestination.flushSync())
    const log = pino({ level: config.logLevel, base: null, timestamp }, logDestination)
    await using started = new AsyncDisposableStack()
    const store = started.use(await openStore(config.store, { dataFolder: config.dataFolder, log }))
    const host = server === 'edge' ? undefined : started.use(await openHost(server, config, { store, log }))
    if (server === 'host') sayHostReady(config)
    else
      await sayReady(
        server,
        config,
        started.use(await startEdge(config, { store, log, accessLog: logDestination })),
      )
    const taken = await Promise.race([
      once(process, 'SIGINT'),
      once(process, 'SIGTERM'),
      host?.taken ?? NEVER,
    ])
    if (taken instanceof LandfallError) throw taken
    process.stderr.write('waiting for open requests; press Ctrl-C again to cut them\n')
    process.once('SIGINT', () => process.exit(130))
    process.once('SIGTERM', () => process.exit(143))
  } catch (error) {
    process.exitCode = 1
    process.stderr.write(`landfall: ${explain(error)}\n`)
  }
}

/** Development builds its guest at the first start, and ends its VMs with itself. */
async function openHost(server: Server, config: Config, deps: HostDeps): Promise<Host> {
  if (server === 'host') return startHost(config, deps)
  const say = (line: string) => void process.stderr.write(`${line}\n`)
  const place = { vmm: config.vms.vmm, folder: config.dataFolder, env: process.env }
  return startHost(config, deps, { vmm: await prepareDevelopment(place, say), isLast: true })
}

/** Seconds, as in the access log. */
function timestamp(): string {
  return `,"ts":${Date.now() / 1_000}`
}

/** @throws SettingsError when several processes would have to share what one process keeps */
function checkStore(server: Server, { store }: Config): void {
  if (server === 'dev' || store.isFleet) return
  throw new SettingsError([
    `LANDFALL_STORE must be redis for "landfall ${server}", since other processes have to read it too; "landfall dev" is everything in one process`,
  ])
}

function sayHostReady({ hostName }: Config): void {
  process.stdout.write(`landfall ready host ${hostName}\n`)
}

/** Also leaves word for the command line, which finds the API by it. */
async function sayReady(server: Server, config: Config, edge: Edge): Promise<void> {
  const { domain, dataFolder, acme } = config
  const { httpPort, opsPort, caFile, urlOf } = edge
  const api = { url: urlOf(`admin.${domain}`), caFile: resolve(caFile) }
  await writeFile(join(dataFolder, 'api.json'), `${JSON.stringify(api)}\n`)
  const url = server === 'dev' ? urlOf(`hello.${domain}`) : api.url
  process.stderr.write(
    `${sayIssuers(acme.cas, caFile)}
  curl --cacert ${caFile} ${url}
admin API   ${api.url} with the token in ${join(dataFolder, 'admin.token')}
plain HTTP  http://${new URL(url).hostname}:${httpPort}/
operations  http://127.0.0.1:${opsPort}/metrics, /livez, /readyz
`,
  )
  process.stdout.write(`landfall ready ${url}\n`)
}

function sayIssuers(cas: readonly string[], caFile: string): string {
  if (cas.length === 0)
    return `certificates come from the local CA ${caFile}; trust it in your browser, or say`
  const hosts = cas.map((directory) => new URL(directory).host).join(', ')
  return `certificates come from ${hosts}; until the first one is there, say`
}

/** What happened and what to do, without a stack trace unless the fault is ours. */
function explain(error: unknown): string {
  if (error instanceof SettingsError) return error.message
  if (error instanceof LandfallError) return `${error.message}\n  ${error.fault.next} (${error.code})`
  const { code, port } = error as { code?: string; port?: number }
  if (code === 'EADDRINUSE')
    return `port ${port} is taken; end what uses it, or set LANDFALL_HTTPS_PORT, _HTTP_PORT or _OPS_PORT`
  if (code === 'EACCES' && port !== undefined) return `port ${port} needs more rights; take one above 1023`
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
