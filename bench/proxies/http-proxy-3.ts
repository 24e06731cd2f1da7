/** http-proxy-3 as its README sets it up: its own passes, a keep-alive agent, no log. */

import { fileURLToPath } from 'node:url'
import type { HttpProxy3Settings } from './http-proxy-3-server.ts'
import type { ProxySetup, ProxySpec } from './proxy.ts'

const SERVER = fileURLToPath(new URL('http-proxy-3-server.ts', import.meta.url))

export function httpProxy3({ ports, certificate, backendPort }: ProxySetup): ProxySpec {
  const { certFile, keyFile } = certificate
  const settings: HttpProxy3Settings = { ports, certFile, keyFile, backendPort }
  return {
    name: 'http-proxy-3',
    command: [process.execPath, SERVER, JSON.stringify(settings)],
    ports,
    setsRequestId: false,
  }
}
