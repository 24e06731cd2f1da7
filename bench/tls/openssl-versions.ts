/** Which OpenSSL each server runs with: most of a handshake's time is spent in it. */

import { execFile } from 'node:child_process'
import type { Programs } from '../frame/programs.ts'

/** By the name of the server. */
export async function readOpensslVersions({ nginx, haproxy }: Programs): Promise<Record<string, string>> {
  const ofNginx = await readText(nginx.path, '-V')
  const ofHaproxy = await readText(haproxy.path, '-vv')
  const built = /built with OpenSSL (\S+)/.exec(ofNginx)?.[1]
  return {
    'nginx’s OpenSSL': /running with OpenSSL (\S+)/.exec(ofNginx)?.[1] ?? built ?? 'unknown',
    'HAProxy’s OpenSSL': /Running on OpenSSL version : OpenSSL (\S+)/.exec(ofHaproxy)?.[1] ?? 'unknown',
    'Node’s OpenSSL': process.versions.openssl ?? 'unknown',
  }
}

function readText(path: string, option: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  execFile(path, [option], (_error, stdout, stderr) => resolve(stdout + stderr))
  return promise
}
