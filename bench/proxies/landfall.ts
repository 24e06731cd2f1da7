/** Landfall as `npm start` runs it: its Node flags, SQLite, access log and metrics, a route from the table. */

import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BenchError } from '../frame/benchmark.ts'
import { sendRequest } from '../frame/request.ts'
import type { ProxySetup, ProxySpec } from './proxy.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const DOMAIN = 'localhost'

export function landfallProxy(setup: ProxySetup): ProxySpec {
  return {
    name: 'Landfall',
    command: startCommand(readFileSync(join(ROOT, 'package.json'), 'utf8')),
    ports: { ...setup.ports, h2: setup.ports.tls },
    cwd: ROOT,
    env: { ...withoutSettings(process.env), ...settingsOf(setup) },
    // Log lines go to standard error, as an operator has them collected.
    accessLog: { name: 'output.log', kind: 'appended' },
    setsRequestId: true,
    prepare: () => putRoute(setup),
  }
}

/** What `npm start` runs, by the Node that runs this. */
export function startCommand(packageJson: string): string[] {
  const [program, ...args] = String(JSON.parse(packageJson).scripts.start).split(' ')
  if (program !== 'node') throw new BenchError('the script "start" of package.json no longer runs node')
  return [process.execPath, ...args]
}

function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('LANDFALL_')))
}

function settingsOf({ ports, caFolder }: ProxySetup): NodeJS.ProcessEnv {
  return {
    LANDFALL_DATA: caFolder,
    LANDFALL_DOMAIN: DOMAIN,
    // A guest is built at the first start, and takes part in nothing here.
    LANDFALL_VMM: 'process',
    LANDFALL_HTTP_MODE: 'relay',
    LANDFALL_HTTP_PORT: String(ports.plain),
    LANDFALL_HTTPS_PORT: String(ports.tls),
    LANDFALL_OPS_PORT: '0',
    LANDFALL_DRAIN_TIMEOUT_MS: '0',
  }
}

/** Over the admin API, so that the table learns of it by its feed. */
function putRoute(setup: ProxySetup): Promise<void> {
  const body = { upstream: `127.0.0.1:${setup.backendPort}`, visibility: 'public' }
  return callApi(setup, { method: 'PUT', path: `/v1/routes/${setup.hostname}`, body })
}

/** By the token that the process has made. @throws BenchError unless it answers 2xx */
export async function callApi(
  { ports, caFolder, caPem, signal }: ProxySetup,
  { method, path, body }: { readonly method: string; readonly path: string; readonly body: object },
): Promise<void> {
  const token = await readFile(join(caFolder, 'admin.token'), 'utf8')
  const headers = { authorization: `Bearer ${token.trim()}`, 'content-type': 'application/json' }
  const { status, body: answer } = await sendRequest({
    ...{ protocol: 'TLS h1', port: ports.tls, hostname: `admin.${DOMAIN}`, caPem, signal },
    ...{ method, path, headers, body: JSON.stringify(body) },
  })
  if (status >= 300) throw new BenchError(`Landfall refused ${method} ${path}: ${status} ${answer}`)
}
