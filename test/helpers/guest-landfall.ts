/** `landfall dev` with real guests: small ones under emulation, of an image that is there; nothing of them is left when the test ends. */

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { link, mkdir, readdir, readFile, rmdir } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { basename, dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { folderFor } from './folder.ts'
import { guestFolder } from './guests.ts'
import { isRunning, killIfThere, type Landfall, type LandfallOptions, landfallFor } from './landfall.ts'
import { until } from './until.ts'

const MAIN = fileURLToPath(new URL('../../main.ts', import.meta.url))
/** Of one request or command, with other guests on the same two processors. */
export const SLOW_MS = 60_000
const CGROUP_MOUNTS = ['unified', 'cpu', 'memory', 'pids', 'blkio', '.'].map((name) =>
  join('/sys/fs/cgroup', name),
)

const PAUSE_MS = 200

/** As `until`, for what takes seconds: each look costs a guest, or a handshake, time that others need. */
export function untilSlowly(
  holds: () => Promise<boolean>,
  what: string,
  deadlineMs: number = SLOW_MS,
): Promise<void> {
  const look = async () => (await holds()) || (await sleep(PAUSE_MS, false))
  return until(look, what, deadlineMs)
}

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Answer {
  readonly status: number
  readonly text: string
  readonly headers: IncomingMessage['headers']
}

export interface AskOptions {
  readonly method?: string
  readonly path?: string
  readonly body?: string | Uint8Array
}

/** What the image's /cgi-bin/facts.cgi says. */
export interface GuestFacts {
  /** How often it was asked since the guest's boot: a counter in its memory. */
  readonly asked: number
  /** How often it was asked since the disk was made. */
  readonly logged: number
  /** The guest's time. */
  readonly seconds: number
  readonly random: string
}

export interface GuestLandfall extends Landfall {
  /** The group below each cgroup mount in which the pools' groups are. */
  readonly cgroup: string
  /** The command line as a process of its own; words with spaces are passed as they are. */
  run(...words: readonly string[]): Promise<Ended>
  /** As `run`. @throws Error when its exit code is not 0 */
  must(...words: readonly string[]): Promise<string>
  /** A request to a VM's bare name, through the edge. */
  ask(vm: string, options?: AskOptions): Promise<Answer>
  facts(vm: string): Promise<GuestFacts>
  /** The VM's record, with its report. */
  show(vm: string): Promise<VmView>
  /** Until the host reports this state. */
  untilState(vm: string, state: string): Promise<void>
}

export interface VmView {
  readonly createdAt: string
  readonly report?: { readonly state: string; readonly hostKey?: string; readonly message?: string }
}

/** For a start on images that are there. */
export interface GuestOptions extends LandfallOptions {
  /** The VM `hello` that a first start makes stays; it is deleted when absent, to leave its time to others. */
  readonly hello?: 'kept'
}

/** Ready when its VM `hello` answers, or is gone. */
export async function guestLandfallFor(t: Test, options: GuestOptions = {}): Promise<GuestLandfall> {
  const dataFolder = options.dataFolder ?? (await guestDataFor(t))
  const cgroup = `${basename(dirname(dataFolder))}-group`
  const env = {
    LANDFALL_VMM: 'qemu',
    LANDFALL_ACCEL: 'tcg',
    LANDFALL_NETWORK: 'user',
    LANDFALL_CGROUP: cgroup,
    ...options.env,
  }
  endLeftoversFor(t, { dataFolder, cgroup })
  const started = await landfallFor(t, { dataFolder, env })
  t.teardown(async () => {
    started.signal('SIGTERM')
    await until(() => !isRunning(started.pid), 'its end', SLOW_MS)
  })
  const landfall = toGuestLandfall(t, started, cgroup)
  if (options.hello === 'kept') {
    await untilSlowly(async () => (await landfall.ask('hello')).status === 200, 'hello answers')
  } else {
    await landfall.admin('DELETE', '/v1/vms/hello')
  }
  return landfall
}

/** When the test ends: what was started on a data folder does not end with whoever started it. */
export function endLeftoversFor(
  t: Test,
  { dataFolder, cgroup }: { readonly dataFolder: string; readonly cgroup: string },
): void {
  t.teardown(() => removeGroups(cgroup))
  t.teardown(() => endProcessesOf(dataFolder))
}

/** A data folder with the image that all tests share; its files are links, since nobody writes to them. */
export async function guestDataFor(t: Test): Promise<string> {
  const data = join(folderFor(t), 'data')
  const shared = await guestFolder()
  for (const name of ['boot', 'templates']) await linkTree(join(shared, name), join(data, name))
  return data
}

async function linkTree(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true, mode: 0o755 })
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) await linkTree(source, target)
    else await link(source, target)
  }
}

function toGuestLandfall(t: Test, landfall: Landfall, cgroup: string): GuestLandfall {
  const run = (...words: readonly string[]) =>
    endedFor(t, process.execPath, [MAIN, ...words], { LANDFALL_DATA: landfall.dataFolder })
  const ask = (vm: string, options?: AskOptions) => askVm(landfall, vm, options)
  const show = async (vm: string) => (await landfall.admin('GET', `/v1/vms/${vm}`)).json as unknown as VmView
  return {
    ...landfall,
    cgroup,
    run,
    ask,
    show,
    must: async (...words) => {
      const { code, stdout, stderr } = await run(...words)
      if (code !== 0) throw new Error(`landfall ${words.join(' ')} ended with ${code}:\n${stderr}`)
      return stdout.trim()
    },
    facts: async (vm) => parseFacts(await ask(vm, { path: '/cgi-bin/facts.cgi' })),
    untilState: (vm, state) =>
      untilSlowly(async () => (await show(vm)).report?.state === state, `${vm} is ${state}`),
  }
}

/** A program with a home of its own, to its end. */
export async function endedFor(
  t: Test,
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const { PATH, NODE_COMPILE_CACHE } = process.env
  const child = spawn(program, args, {
    env: { PATH, NODE_COMPILE_CACHE, HOME: folderFor(t), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => void child.kill('SIGKILL'))
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  return { code, stdout, stderr }
}

/** The address is given, since no resolver knows the name. */
export async function askVm(
  { httpsPort, ca }: Pick<Landfall, 'httpsPort' | 'ca'>,
  vm: string,
  options: AskOptions = {},
): Promise<Answer> {
  const { method = 'GET', path = '/', body } = options
  const hostname = `${vm}.localhost`
  const outgoing = request({
    host: '127.0.0.1',
    port: httpsPort,
    servername: hostname,
    ca,
    method,
    path,
    agent: false,
    headers: {
      host: `${hostname}:${httpsPort}`,
      ...(body !== undefined && { 'content-length': Buffer.byteLength(body) }),
    },
    signal: AbortSignal.timeout(SLOW_MS),
  })
  outgoing.end(body)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  return { status: response.statusCode ?? 0, headers: response.headers, text: await text(response) }
}

function parseFacts({ status, text }: Answer): GuestFacts {
  const [asked, logged, seconds, random = ''] = text.trim().split(' ')
  if (status !== 200 || !/^[0-9a-f]{32}$/.test(random)) throw new Error(`the guest said ${status}: ${text}`)
  return { asked: Number(asked), logged: Number(logged), seconds: Number(seconds), random }
}

/** Ids of the processes that work in a data folder: it is in their command lines. */
export async function processesOf(dataFolder: string): Promise<readonly number[]> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const lines = await Promise.all(ids.map((id) => readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '')))
  return ids.filter((id, index) => id !== process.pid && lines[index]?.includes(dataFolder))
}

export async function endProcessesOf(dataFolder: string): Promise<void> {
  const ids = await processesOf(dataFolder)
  for (const id of ids) killIfThere(id)
  await until(() => !ids.some(isRunning), 'what it started has ended')
}

/** Where cgroups are folders of it; those of processes that have just ended go with some delay. */
export async function removeGroups(cgroup: string): Promise<void> {
  for (const mount of CGROUP_MOUNTS) {
    const folder = join(mount, cgroup)
    if (existsSync(folder)) await until(() => removeGroup(folder), `${folder} is gone`)
  }
}

async function removeGroup(folder: string): Promise<boolean> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  for (const entry of entries.filter((each) => each.isDirectory()))
    await removeGroup(join(folder, entry.name))
  await rmdir(folder).catch(() => undefined)
  return !existsSync(folder)
}

export interface KeyFiles {
  /** The private key. */
  readonly identity: string
  readonly publicFile: string
}

export function sshKeyFor(t: Test): KeyFiles {
  const identity = join(folderFor(t), 'id')
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', identity])
  return { identity, publicFile: `${identity}.pub` }
}

export type Ssh = (vm: string, ...words: readonly string[]) => Promise<Ended>

/** Lets a new user, who owns the pool `default`, into its VMs; `ssh` is `landfall ssh` with his key. */
export async function ownerFor(t: Test, landfall: GuestLandfall): Promise<{ readonly ssh: Ssh }> {
  const { identity, publicFile } = sshKeyFor(t)
  await landfall.must('key', 'add', 'ann', publicFile)
  await landfall.must('pool', 'set', 'default', '--owner', 'ann')
  return { ssh: (vm, ...words) => landfall.run('ssh', '--identity', identity, vm, ...words) }
}
