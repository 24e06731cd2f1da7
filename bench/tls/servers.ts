/** How each server is given its certificates: nginx and HAProxy as files, Landfall as rows of its store. */

import { userInfo } from 'node:os'
import { join } from 'node:path'
import { haproxyProxy } from '../proxies/haproxy.ts'
import { landfallProxy } from '../proxies/landfall.ts'
import { nginxProxy } from '../proxies/nginx.ts'
import type { ProxySetup, ProxySpec } from '../proxies/proxy.ts'

export interface ServerKind {
  readonly name: string
  /** Measured with many certificates only: with one it would be the kind before. */
  readonly isForMany?: true
  toSpec(setup: ServerSetup): ProxySpec
}

export interface ServerSetup extends ProxySetup {
  /** A server name each; the first is the setup's `hostname`. */
  readonly names: readonly string[]
  /** With `<name>.pem` for each, chain and key, and nothing else. */
  readonly leafFolder: string
}

/** With 100,000 certificates nginx and HAProxy were measured to read for 70 s each. */
const START_MS = 600_000

/** The first is what the others are compared with. */
export const SERVERS: readonly ServerKind[] = [
  { name: 'nginx', toSpec: nginxBlocks },
  { name: 'nginx, files', isForMany: true, toSpec: nginxFiles },
  { name: 'HAProxy', toSpec: haproxyFolder },
  { name: 'Landfall', toSpec: landfallRows },
]

export function toLeafFile(leafFolder: string, name: string): string {
  return join(leafFolder, `${name}.pem`)
}

/** A server block for each name, whose certificate is read at the start. */
function nginxBlocks(setup: ServerSetup): ProxySpec {
  const { hostname, ports, names, leafFolder } = setup
  const others = names.filter((name) => name !== hostname)
  const blocks = others.map((name) => {
    const file = toLeafFile(leafFolder, name)
    return `  server { listen 127.0.0.1:${ports.tls} ssl http2; server_name ${name}; ssl_certificate ${file}; ssl_certificate_key ${file}; location / { proxy_pass http://backend; } }\n`
  })
  return nginxWith(setup, toLeafFile(leafFolder, hostname), [HASH_SIZES, ...blocks])
}

/** Of the table of server names: their number, and twice the room for one. */
const HASH_SIZES = '  server_names_hash_max_size 1048576;\n  server_names_hash_bucket_size 128;\n'

/** One server block for all names, whose certificates are read from the disk at each handshake. */
function nginxFiles(setup: ServerSetup): ProxySpec {
  return { ...nginxWith(setup, toLeafFile(setup.leafFolder, '$ssl_server_name')), name: 'nginx, files' }
}

function nginxWith(setup: ServerSetup, file: string, more: readonly string[] = []): ProxySpec {
  const certificate = { ...setup.certificate, certFile: file, keyFile: file }
  const spec = nginxProxy({ ...setup, certificate })
  const text = spec.config?.text.replace(/}\n$/, () => `${more.join('')}}\n`) ?? ''
  const config = { name: 'nginx.conf', text: `${workerUser()}${text}` }
  return { ...spec, config, startMs: START_MS }
}

/** Started by root, its workers are another user's, who may not read this one's folders. */
function workerUser(): string {
  const { uid, username } = userInfo()
  return uid === 0 ? `user ${username};\n` : ''
}

/** All files of the folder, read at the start; connections without a request are not logged, as by the others. */
function haproxyFolder(setup: ServerSetup): ProxySpec {
  const spec = haproxyProxy({ ...setup, certificate: { ...setup.certificate, bothFile: setup.leafFolder } })
  const text = spec.config?.text
    .replace('  option httplog\n', '  option httplog\n  option dontlognull\n')
    // It would look for five more files beside each.
    .replace('global\n', 'global\n  ssl-load-extra-files none\n')
  return { ...spec, config: { name: 'haproxy.cfg', text: text ?? '' }, startMs: START_MS }
}

/** The rows are in its store before it starts, and its route with them. */
function landfallRows(setup: ServerSetup): ProxySpec {
  return { ...landfallProxy(setup), startMs: START_MS, prepare: async () => {} }
}
