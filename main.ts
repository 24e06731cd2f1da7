#!/usr/bin/env node
/** The command line's entry: `dev`, `edge` and `host` run servers; everything else is a call of the admin API. */

import { fileURLToPath } from 'node:url'
import { runCli } from './cli/cli.ts'
import { takeNodeFlags } from './lib/node-flags.ts'

const SERVERS = ['dev', 'edge', 'host']
/**
 * For edges. V8 grows its young generation late, and looks through the old one every few thousand connections, as their
 * sockets get old in it: with these a TLS handshake was measured to take 5 % less CPU time, for up to 100 MB more memory.
 */
const HEAP_FLAGS = ['--max-semi-space-size=32', '--initial-old-space-size=256']

const [command = '', ...rest] = process.argv.slice(2)
// With a verb, `edge` and `host` are calls of the admin API.
if (rest.length === 0 && SERVERS.includes(command)) {
  if (command !== 'host') takeNodeFlags([...HEAP_FLAGS, ...toOpensslFlags(process.env)], process.env)
  const { serve } = await import('./serve.ts')
  await serve(command as 'dev' | 'edge' | 'host')
} else {
  const interrupt = new AbortController()
  process.once('SIGINT', () => interrupt.abort())
  const { env, stdin, stdout, stderr } = process
  const images = command === 'image' ? (await import('./images.ts')).createImageTools(env) : undefined
  process.exitCode = await runCli(process.argv.slice(2), {
    env,
    stdin,
    stdout,
    stderr,
    signal: interrupt.signal,
    ...(images && { images }),
  })
}

/** Whoever has said anything of OpenSSL keeps it as it is. */
function toOpensslFlags({ OPENSSL_CONF, NODE_OPTIONS = '' }: NodeJS.ProcessEnv): string[] {
  const given = [NODE_OPTIONS, ...process.execArgv].join(' ')
  if (OPENSSL_CONF !== undefined || /--(openssl-|enable-fips|force-fips)/.test(given)) return []
  return [`--openssl-config=${fileURLToPath(new URL('proxy/openssl.cnf', import.meta.url))}`]
}
