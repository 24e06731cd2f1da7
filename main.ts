#!/usr/bin/env node
/** The command line's entry: `dev`, `edge` and `host` run servers; everything else is a call of the admin API. */

import { runCli } from './cli/cli.ts'

const SERVERS = ['dev', 'edge', 'host']

const [command = '', ...rest] = process.argv.slice(2)
// With a verb, `edge` and `host` are calls of the admin API.
if (rest.length === 0 && SERVERS.includes(command)) {
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
