/** Debian's Pebble with its challenge test server as DNS: a strict ACME server that validates over the network. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { Agent, get } from 'node:https'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text as readText } from 'node:stream/consumers'
import type { Test } from 'tap'
import { folderFor } from './folder.ts'
import { findFreePort } from './free-port.ts'
import { createServerIdentity } from './server-identity.ts'
import { until } from './until.ts'

const SHOWN_LINES = 200

/** A test that runs out of time is torn down by nobody. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export interface PebbleOptions {
  /** Where http-01 is asked; default a free port, which is named in the answer. */
  readonly httpPort?: number
  /** Where tls-alpn-01 is asked. */
  readonly tlsPort?: number
  /** Per cent of good nonces that are refused; default 5. */
  readonly nonceReject?: number
  /** Per cent of valid authorizations that are used again; default 50. */
  readonly authzReuse?: number
  /** Default true: `-strict`. */
  readonly isStrict?: boolean
  /** Key ids and HMAC keys in base64url: accounts must be bound to one. */
  readonly externalAccounts?: Readonly<Record<string, string>>
  /** `ip:port` instead of the challenge test server's. */
  readonly dnsServer?: string
  /** Every name is proven without a look at it. */
  readonly isAlwaysValid?: boolean
  /** Intermediates in a chain; default 1. */
  readonly chainLength?: number
}

export interface Pebble {
  readonly directory: string
  /** Of its own server: LANDFALL_ACME_CA_FILE. */
  readonly rootFile: string
  readonly serverRootPem: string
  readonly httpPort: number
  readonly tlsPort: number
  /** Answers A with 127.0.0.1 and AAAA with nothing, unless told otherwise. */
  readonly dns: PebbleDns
  /** Of the certificates that it issues; a new one with each start. */
  readonly readRoot: () => Promise<string>
  /** The last lines that it wrote. */
  readonly output: () => string
  /** How many lines it has written that hold `text`, as "Added order". */
  readonly countLines: (text: string) => number
  readonly stop: () => Promise<void>
  /** On the same ports; it has forgotten everything. */
  readonly start: () => Promise<void>
}

/** The management of pebble-challtestsrv. */
export interface PebbleDns {
  /** `127.0.0.1:<port>`, UDP and TCP. */
  readonly server: string
  readonly addA: (host: string, addresses: readonly string[]) => Promise<void>
  readonly addTxt: (host: string, value: string) => Promise<void>
  readonly clearTxt: (host: string) => Promise<void>
  readonly addCname: (host: string, target: string) => Promise<void>
  readonly addCaa: (host: string, policies: readonly { tag: string; value: string }[]) => Promise<void>
  readonly addServfail: (host: string) => Promise<void>
  /** Any call of its API, as `set-default-ipv4`. */
  readonly post: (path: string, body: object) => Promise<void>
}

export async function pebbleFor(t: Test, options: PebbleOptions = {}): Promise<Pebble> {
  const folder = folderFor(t)
  const [port, managementPort] = [await findFreePort(), await findFreePort()]
  const httpPort = options.httpPort ?? (await findFreePort())
  const tlsPort = options.tlsPort ?? (await findFreePort())
  const dns = await challengeServerFor(t)
  const { rootPem } = await writeIdentity(folder)
  const config = {
    listenAddress: `127.0.0.1:${port}`,
    managementListenAddress: `127.0.0.1:${managementPort}`,
    certificate: join(folder, 'cert.pem'),
    privateKey: join(folder, 'key.pem'),
    httpPort,
    tlsPort,
    ocspResponderURL: '',
    externalAccountBindingRequired: options.externalAccounts !== undefined,
    ...(options.externalAccounts && { externalAccountMACKeys: options.externalAccounts }),
  }
  const configFile = join(folder, 'pebble.json')
  writeFileSync(configFile, JSON.stringify({ pebble: config }))
  const command = ['-config', configFile, '-dnsserver', options.dnsServer ?? dns.server]
  const flags = options.isStrict === false ? command : [...command, '-strict']
  const program = new Program('pebble', flags, toEnvironment(options))
  t.teardown(() => program.stop())
  const agent = new Agent({ ca: rootPem })
  const directory = `https://localhost:${port}/dir`
  const start = async () => {
    program.start()
    await until(async () => (await fetchText(directory, agent)) !== undefined, 'Pebble answers')
  }
  await start()
  return {
    directory,
    rootFile: join(folder, 'root.pem'),
    serverRootPem: rootPem,
    httpPort,
    tlsPort,
    dns,
    readRoot: async () => (await fetchText(`https://localhost:${managementPort}/roots/0`, agent)) ?? '',
    output: () => program.lines.slice(-SHOWN_LINES).join('\n'),
    countLines: (text) => program.lines.filter((line) => line.includes(text)).length,
    stop: () => program.stop(),
    start,
  }
}

function toEnvironment(options: PebbleOptions): Record<string, string> {
  const { nonceReject, authzReuse, chainLength, isAlwaysValid } = options
  return {
    // Validations start at once instead of after some seconds.
    PEBBLE_VA_NOSLEEP: '1',
    ...(nonceReject !== undefined && { PEBBLE_WFE_NONCEREJECT: String(nonceReject) }),
    ...(authzReuse !== undefined && { PEBBLE_AUTHZREUSE: String(authzReuse) }),
    ...(chainLength !== undefined && { PEBBLE_CHAIN_LENGTH: String(chainLength) }),
    ...(isAlwaysValid && { PEBBLE_VA_ALWAYS_VALID: '1' }),
  }
}

/** The DNS part of pebble-challtestsrv alone: the challenges themselves are for the edges to answer. */
export async function challengeServerFor(t: Test): Promise<PebbleDns> {
  const [dnsPort, managementPort] = [await findFreePort(), await findFreePort()]
  const flags = ['-dns01', `127.0.0.1:${dnsPort}`, '-management', `127.0.0.1:${managementPort}`]
  const off = ['-http01', '', '-https01', '', '-tlsalpn01', '', '-defaultIPv6', '']
  const program = new Program('pebble-challtestsrv', [...flags, ...off], {})
  t.teardown(() => program.stop())
  program.start()
  const post = async (path: string, body: object) => {
    const url = `http://127.0.0.1:${managementPort}/${path}`
    const { ok, status } = await fetch(url, { method: 'POST', body: JSON.stringify(body) })
    if (!ok) throw new Error(`${path}: ${status}`)
  }
  const isUp = () =>
    post('set-default-ipv6', { ip: '' }).then(
      () => true,
      () => false,
    )
  await until(isUp, 'the challenge test server answers')
  return {
    server: `127.0.0.1:${dnsPort}`,
    post,
    addA: (host, addresses) => post('add-a', { host: toFull(host), addresses }),
    addTxt: (host, value) => post('set-txt', { host: toFull(host), value }),
    clearTxt: (host) => post('clear-txt', { host: toFull(host) }),
    addCname: (host, target) => post('set-cname', { host: toFull(host), target: toFull(target) }),
    addCaa: (host, policies) => post('add-caa', { host: toFull(host), policies }),
    addServfail: (host) => post('set-servfail', { host: toFull(host) }),
  }
}

function toFull(name: string): string {
  return name.endsWith('.') ? name : `${name}.`
}

class Program {
  readonly lines: string[] = []
  readonly #name: string
  readonly #flags: readonly string[]
  readonly #environment: Record<string, string>
  #child: ChildProcess | undefined

  constructor(name: string, flags: readonly string[], environment: Record<string, string>) {
    this.#name = name
    this.#flags = flags
    this.#environment = environment
  }

  start(): void {
    const env = { ...process.env, ...this.#environment }
    const child = spawn(this.#name, this.#flags, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.lines.push(line))
    }
    running.add(child)
    child.once('exit', () => running.delete(child))
    this.#child = child
  }

  async stop(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
}

async function writeIdentity(folder: string): Promise<{ readonly rootPem: string }> {
  const { rootPem, cert, key } = await createServerIdentity()
  writeFileSync(join(folder, 'root.pem'), rootPem)
  writeFileSync(join(folder, 'cert.pem'), cert)
  writeFileSync(join(folder, 'key.pem'), key)
  return { rootPem }
}

async function fetchText(url: string, agent: Agent): Promise<string | undefined> {
  try {
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    get(url, { agent }, (response) => {
      readText(response).then(resolve, reject)
    }).on('error', reject)
    return await promise
  } catch {
    return undefined
  }
}
