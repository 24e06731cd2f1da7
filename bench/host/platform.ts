/** `landfall dev` with real guests, as a user starts it, and what a user asks of it: its API, and its VMs through the edge. */

import { readFileSync } from 'node:fs'
import { mkdir, readdir, readFile, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { BenchContext } from '../frame/benchmark.ts'
import { BenchError } from '../frame/benchmark.ts'
import { startChild } from '../frame/child.ts'
import { ALL_CORES } from '../frame/cores.ts'
import { findFreePorts } from '../frame/free-ports.ts'
import { killRemaining, type ProcessStat, parseStat } from '../frame/process-tree.ts'
import { type Answer, type Question, sendRequest } from '../frame/request.ts'
import { startCommand } from '../proxies/landfall.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CGROUPS = '/sys/fs/cgroup'
const WAIT_SECONDS = 100
const END_MS = 10_000
const POLL_MS = 20
const SHOWN_LOG_CHARACTERS = 3_000

export const MEMORY_BYTES = 134_217_728
/** The web server of our images. */
export const PORT = 8000

export interface PlatformSettings {
  /** With the images. */
  readonly dataFolder: string
  readonly accel: 'kvm' | 'tcg'
}

export interface Platform extends AsyncDisposable {
  readonly dataFolder: string
  /** The group below each cgroup mount that all pools are in. */
  readonly cgroup: string
  /** Of the admin API; waits where it can be waited for. @throws BenchError unless it answers 2xx */
  call(method: string, path: string, body?: object): Promise<Record<string, unknown>>
  /** A GET from the VM's own address. @throws BenchError unless it answers 200 */
  get(vm: string, path: string): Promise<string>
  /** What a script prints in a VM of the image `shell`. @throws BenchError unless it answers 200 */
  run(vm: string, script: string): Promise<string>
  /** Of a VM that is public and small; answers when it runs, or has stopped. */
  makeVm(name: string, body: object): Promise<Record<string, unknown>>
  /** The end of what it has logged. */
  readLog(): string
  /** All that work in its data folder, itself included. */
  findProcesses(): Promise<number[]>
}

/** @throws BenchError when it does not start */
export async function startPlatform(
  { dataFolder, accel }: PlatformSettings,
  { folder, signal }: BenchContext,
): Promise<Platform> {
  const [https = 0, http = 0, ops = 0] = await findFreePorts(3)
  const cgroup = `landfall-bench-${process.pid}`
  const work = join(folder, 'platform')
  await mkdir(work, { recursive: true })
  await using started = new AsyncDisposableStack()
  started.defer(() => removeGroups(cgroup))
  started.defer(() => endProcessesOf(dataFolder))
  const env = {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('LANDFALL_'))),
    ...{ LANDFALL_VMM: 'qemu', LANDFALL_ACCEL: accel, LANDFALL_NETWORK: 'user', LANDFALL_CGROUP: cgroup },
    ...{ LANDFALL_DATA: dataFolder, LANDFALL_DISK_GRACE_S: '0', LANDFALL_DRAIN_TIMEOUT_MS: '0' },
    LANDFALL_HTTPS_PORT: String(https),
    LANDFALL_HTTP_PORT: String(http),
    LANDFALL_OPS_PORT: String(ops),
  }
  started.use(
    await startChild({
      name: 'Landfall',
      core: ALL_CORES,
      command: startCommand(readFileSync(join(ROOT, 'package.json'), 'utf8')),
      cwd: ROOT,
      env,
      outputFile: join(work, 'output.log'),
      ports: [https, ops],
      signal,
    }),
  )
  const calls = await createCalls(dataFolder, { port: https, signal })
  await calls.call('DELETE', '/v1/vms/hello')
  const running = started.move()
  return {
    ...{ dataFolder, cgroup, ...calls },
    readLog: () => readFileSync(join(work, 'output.log'), 'utf8').slice(-SHOWN_LOG_CHARACTERS),
    findProcesses: () => findProcessesOf(dataFolder),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

type Sent = Pick<Question, 'path' | 'method' | 'body' | 'headers'>

async function createCalls(
  dataFolder: string,
  { port, signal }: { readonly port: number; readonly signal: AbortSignal },
): Promise<Pick<Platform, 'call' | 'get' | 'run' | 'makeVm'>> {
  const token = (await readFile(join(dataFolder, 'admin.token'), 'utf8')).trim()
  const caPem = await readFile(join(dataFolder, 'ca.pem'), 'utf8')
  const send = (hostname: string, question: Sent) =>
    sendRequest({ protocol: 'TLS h1', port, hostname, caPem, signal, ...question })
  const ask = async (vm: string, question: Sent) => {
    const answer = await send(`${vm}.localhost`, question)
    if (answer.status !== 200) throw wrong(`${vm}${question.path}`, answer)
    return answer.body
  }
  const call: Platform['call'] = async (method, path, body) => {
    const text = body === undefined ? undefined : JSON.stringify(body)
    const type = text === undefined ? {} : { 'content-type': 'application/json', ...lengthOf(text) }
    const answer = await send('admin.localhost', {
      path,
      method,
      headers: { authorization: `Bearer ${token}`, ...type },
      ...(text !== undefined && { body: text }),
    })
    if (answer.status >= 300) throw wrong(`${method} ${path}`, answer)
    return answer.body === '' ? {} : JSON.parse(answer.body)
  }
  return {
    call,
    get: (vm, path) => ask(vm, { path }),
    run: (vm, script) =>
      ask(vm, { path: '/cgi-bin/shell.cgi', method: 'POST', body: script, headers: lengthOf(script) }),
    makeVm: (name, body) =>
      call('PUT', `/v1/vms/${name}?wait=${WAIT_SECONDS}`, {
        memoryBytes: MEMORY_BYTES,
        ports: { [PORT]: { visibility: 'public' } },
        ...body,
      }),
  }
}

function lengthOf(body: string) {
  return { 'content-length': String(Buffer.byteLength(body)) }
}

function wrong(what: string, { status, body }: Answer): BenchError {
  return new BenchError(`${what} was answered ${status}: ${body.slice(0, 500)}`)
}

/** The folder is in their command lines. */
async function findProcessesOf(dataFolder: string): Promise<number[]> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const shown = await Promise.all(
    ids.map(async (id) => {
      const [line, environment] = await Promise.all(
        ['cmdline', 'environ'].map((file) => readFile(`/proc/${id}/${file}`, 'utf8').catch(() => '')),
      )
      return `${line}${environment}`
    }),
  )
  return ids.filter((id, index) => id !== process.pid && shown[index]?.includes(dataFolder))
}

/** What it left running: its VMs' processes are no children of its own once it is gone. */
export async function endProcessesOf(dataFolder: string): Promise<void> {
  const deadline = performance.now() + END_MS
  for (;;) {
    const left = await findProcessesOf(dataFolder)
    if (left.length === 0) return
    if (performance.now() > deadline) throw new BenchError(`these processes do not end: ${left.join(', ')}`)
    const stats = await Promise.all(left.map(findStat))
    killRemaining(stats.filter((stat) => stat !== undefined))
    await sleep(POLL_MS)
  }
}

async function findStat(id: number): Promise<ProcessStat | undefined> {
  return readFile(`/proc/${id}/stat`, 'latin1').then(parseStat, () => undefined)
}

/** Groups of processes that have just ended can be removed a little later. */
async function removeGroups(cgroup: string): Promise<void> {
  const mounts = (await readdir(CGROUPS)).map((name) => join(CGROUPS, name))
  for (const folder of [CGROUPS, ...mounts].map((mount) => join(mount, cgroup))) {
    const deadline = performance.now() + END_MS
    while (!(await removeGroup(folder)) && performance.now() < deadline) await sleep(POLL_MS)
  }
}

async function removeGroup(folder: string): Promise<boolean> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => undefined)
  if (entries === undefined) return true
  for (const entry of entries.filter((each) => each.isDirectory()))
    await removeGroup(join(folder, entry.name))
  return rmdir(folder).then(
    () => true,
    () => false,
  )
}
