/** Real name servers for tests: BIND's `named` with zones of the test's own, a TSIG key for updates, and forwarding. */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { TsigAlgorithm } from '../../acme/dns/tsig.ts'
import type { Endpoint } from '../../lib/address-text.ts'
import { folderFor } from './folder.ts'
import { findFreePort } from './free-port.ts'
import { until } from './until.ts'

/** A test that runs out of time is torn down by nobody. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

const START_TRIES = 5

export interface BindOptions {
  /** Records by zone, in the form of zone files; SOA and NS (`ns` at 127.0.0.1) are there already. Updates are taken. */
  readonly zones?: Readonly<Record<string, string>>
  /** Zones that are asked of another server on loopback, by its port; the zone above has to have NS records for them. */
  readonly forwards?: Readonly<Record<string, number>>
  readonly algorithm?: TsigAlgorithm
}

export interface Bind {
  /** UDP and TCP. */
  readonly server: Endpoint
  /** As `tsig-keygen` writes it. */
  readonly keyFile: string
  /** Asks this server and no other. */
  readonly resolver: Resolver
  readonly log: () => string
  /** Ends it at once and waits for its end. */
  readonly kill: () => Promise<void>
}

export async function bindFor(t: Test, options: BindOptions = {}): Promise<Bind> {
  for (let left = START_TRIES; ; left--) {
    const bind = await tryStart(t, options)
    if (bind !== undefined) return bind
    if (left === 1) throw new Error('named does not start')
  }
}

/** Undefined when another process took the port first. */
async function tryStart(t: Test, options: BindOptions): Promise<Bind | undefined> {
  const folder = folderFor(t)
  const port = await findFreePort()
  const keyFile = writeFiles(folder, port, options)
  // In the foreground, with its log on stderr; it stays who it is.
  const child = spawn('named', ['-g', '-n', '1', '-U', '1', '-c', join(folder, 'named.conf')], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  let log = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    log += text
  })
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null
  const kill = async () => {
    if (hasEnded()) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  const resolver = new Resolver({ timeout: 2_000, tries: 2 })
  resolver.setServers([`127.0.0.1:${port}`])
  t.teardown(async () => {
    resolver.cancel()
    await kill()
  })
  await until(() => hasEnded() || /\brunning$/m.test(log), 'named runs', 20_000)
  if (/address already in use|could not listen/i.test(log)) {
    await kill()
    return undefined
  }
  if (hasEnded()) throw new Error(`named ended:\n${log}`)
  return { server: { host: '127.0.0.1', port }, keyFile, resolver, log: () => log, kill }
}

function writeFiles(folder: string, port: number, options: BindOptions): string {
  const { zones = {}, forwards = {}, algorithm = 'hmac-sha256' } = options
  const keyFile = join(folder, 'update.key')
  const secret = randomBytes(32).toString('base64')
  writeFileSync(keyFile, `key "update" {\n\talgorithm ${algorithm};\n\tsecret "${secret}";\n};\n`)
  const blocks = Object.entries(zones).map(([zone, records]) => {
    writeFileSync(join(folder, `${zone}.zone`), toZoneFile(records))
    return `zone "${zone}" { type primary; file "${zone}.zone"; allow-update { key "update"; }; };`
  })
  const forwarded = Object.entries(forwards).map(
    ([zone, to]) => `zone "${zone}" { type forward; forward only; forwarders { 127.0.0.1 port ${to}; }; };`,
  )
  const settings = toSettings({ folder, port, recursion: forwarded.length > 0 })
  writeFileSync(
    join(folder, 'named.conf'),
    [settings, `include "${keyFile}";`, 'controls { };', ...blocks, ...forwarded].join('\n'),
  )
  return keyFile
}

function toSettings(given: { readonly folder: string; readonly port: number; readonly recursion: boolean }) {
  const { folder, port, recursion } = given
  return `options {
  directory "${folder}";
  pid-file none;
  session-keyfile none;
  lock-file none;
  listen-on port ${port} { 127.0.0.1; };
  listen-on-v6 { none; };
  dnssec-validation no;
  empty-zones-enable no;
  notify no;
  recursion ${recursion ? 'yes' : 'no'};
};`
}

function toZoneFile(records: string): string {
  return `$TTL 1
@ IN SOA ns hostmaster 1 3600 600 86400 1
@ IN NS ns
ns IN A 127.0.0.1
${records}
`
}
