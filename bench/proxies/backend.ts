/** What all proxies relay to: an nginx that answers from memory and shows the fields that reached it. */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Child, startChild } from '../frame/child.ts'
import { LOAD_CORE } from '../frame/cores.ts'
import type { Program } from '../frame/programs.ts'

export const BACKEND_BODY = `${'Landfall relays this body of one hundred bytes. '.padEnd(99, '.')}\n`
/** Answers with a `BackendFields` as JSON. */
export const FIELDS_PATH = '/fields'

/** What the request had when it reached the backend; empty when it had none. */
export interface BackendFields {
  readonly host: string
  readonly forwardedFor: string
  readonly forwardedProto: string
  readonly requestId: string
}

export interface BackendSettings {
  /** Made when missing. */
  readonly folder: string
  readonly port: number
  readonly signal: AbortSignal
}

export async function startBackend(
  nginx: Program,
  { folder, port, signal }: BackendSettings,
): Promise<Child> {
  await mkdir(folder, { recursive: true })
  const configFile = join(folder, 'nginx.conf')
  await writeFile(configFile, configOf(port))
  return startChild({
    name: 'the backend',
    core: LOAD_CORE,
    command: [nginx.path, '-p', folder, '-c', configFile, '-e', 'stderr'],
    cwd: folder,
    outputFile: join(folder, 'output.log'),
    ports: [port],
    signal,
  })
}

function configOf(port: number): string {
  const fields: Record<keyof BackendFields, string> = {
    host: '$http_host',
    forwardedFor: '$http_x_forwarded_for',
    forwardedProto: '$http_x_forwarded_proto',
    requestId: '$http_x_request_id',
  }
  return `daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  default_type text/plain;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  server {
    listen 127.0.0.1:${port};
    location / { return 200 '${BACKEND_BODY}'; }
    location = ${FIELDS_PATH} { return 200 '${JSON.stringify(fields)}'; }
  }
}
`
}
