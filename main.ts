#!/usr/bin/env node
/** The command line's entry: `landfall dev` runs an edge and a host over one store until a signal ends it. */

import { once } from 'node:events'
import { fstatSync } from 'node:fs'
import { join } from 'node:path'
import { destination, pino } from 'pino'
import { type Config, loadConfig } from './config.ts'
import { type Edge, startEdge } from './edge.ts'
import { startHost } from './host.ts'
import { SettingsError } from './lib/env-reader.ts'
import { LandfallError } from './lib/errors.ts'
import { openStore } from './routing/open-store.ts'

const USAGE = `usage: landfall dev

  dev    run everything in one process: an edge, a host with the VM "hello", the admin API

README.md lists the settings.
`

/**
 * Log lines are gathered for a quarter of a second or 60 kB. A file takes them at once; whatever else may be slow
 * to take them, and is written to by a thread, which costs 4 µs a request more.
 */
const LOG_OPTIONS = {
  fd: 2,
  sync: fstatSync(2).isFile(),
  minLength: 60_000,
  maxWrite: 65_536,
  periodicFlush: 250,
  // A reader of standard error that stands still costs lines, not memory without end.
  maxLength: 67_108_864,
}

const [command] = process.argv.slice(2)
if (command === 'dev') await dev()
else usage()

/** Seconds, as in the access log. */
function timestamp(): string {
  return `,"ts":${Date.now() / 1_000}`
}

/** Runs until SIGINT or SIGTERM; a second signal does not wait for open requests. */
async function dev(): Promise<void> {
  try {
    const config = loadConfig(process.env)
    const logDestination = destination(LOG_OPTIONS)
    process.once('exit', () => logDestination.flushSync())
    const log = pino({ level: config.logLevel, base: null, timestamp }, logDestination)
    await using started = new AsyncDisposableStack()
    const store = started.use(await openStore(config))
    started.use(await startHost(config, { store, log }))
    const edge = started.use(await startEdge(config, { store, log, accessLog: logDestination }))
    sayReady(config, edge)
    await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
    process.stderr.write('waiting for open requests; press Ctrl-C again to cut them\n')
    process.once('SIGINT', () => process.exit(130))
    process.once('SIGTERM', () => process.exit(143))
  } catch (error) {
    process.exitCode = 1
    process.stderr.write(`landfall: ${explain(error)}\n`)
  }
}

function sayReady({ domain, dataFolder }: Config, { httpsPort, httpPort, opsPort, caFile }: Edge): void {
  const port = httpsPort === 443 ? '' : `:${httpsPort}`
  process.stderr.write(
    `certificates come from the local CA ${caFile}; trust it in your browser, or say
  curl --cacert ${caFile} https://hello.${domain}${port}/
admin API   https://admin.${domain}${port}/ with the token in ${join(dataFolder, 'admin.token')}
plain HTTP  http://hello.${domain}:${httpPort}/
operations  http://127.0.0.1:${opsPort}/metrics, /livez, /readyz
`,
  )
  process.stdout.write(`landfall ready https://hello.${domain}${port}/\n`)
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

function usage(): void {
  const isAsked = command === 'help' || command === '--help' || command === '-h'
  process.exitCode = isAsked ? 0 : 2
  const stream = isAsked ? process.stdout : process.stderr
  stream.write(USAGE)
}
