/** `landfall dev` as a user runs it: a process of its own with free ports and its own data folder, ended with the test. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { type AdminCalls, adminCallsOf } from './admin-calls.ts'
import { until } from './until.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const START_DEADLINE_MS = 30_000
/** So long may an ended process take to be gone before the test ends it by force. */
const END_DEADLINE_MS = 15_000

export interface Landfall extends LandfallProcess {
  readonly httpsPort: number
  readonly httpPort: number
  readonly opsPort: number
  readonly ca: string
  readonly caFile: string
  readonly adminToken: string
  readonly admin: AdminCalls
}

export interface LandfallProcess {
  readonly pid: number
  readonly dataFolder: string
  /** Everything written so far. */
  readonly stdout: () => string
  readonly stderr: () => string
  readonly signal: (signal: NodeJS.Signals) => void
  /** Settles when the process is gone. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
}

export interface LandfallOptions {
  readonly env?: Readonly<Record<string, string>>
  /** A folder of an earlier start, for one more. */
  readonly dataFolder?: string
}

/** Starts it and returns at once, whatever becomes of it. */
export function landfallProcessFor(t: Test, options: LandfallOptions = {}): LandfallProcess {
  const dataFolder = options.dataFolder ?? join(t.testdir(), 'data')
  const child = spawn(process.execPath, ['main.ts', 'dev'], {
    cwd: ROOT,
    env: { ...environment(), LANDFALL_DATA: dataFolder, ...FREE_PORTS, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => end(child))
  return {
    pid: child.pid ?? 0,
    dataFolder,
    stdout: collect(child, 'stdout'),
    stderr: collect(child, 'stderr'),
    signal: (signal) => void child.kill(signal),
    exited: once(child, 'close').then(([code, signal]) => ({ code, signal })),
  }
}

/** Starts it and waits for the line that says it serves. @throws Error with what it wrote when it does not come */
export async function landfallFor(t: Test, options: LandfallOptions = {}): Promise<Landfall> {
  const started = landfallProcessFor(t, options)
  let isGone = false
  started.exited.then(
    () => {
      isGone = true
    },
    () => {},
  )
  await until(() => isGone || started.stdout().includes('\n'), 'landfall is ready', START_DEADLINE_MS)
  if (isGone) throw new Error(`landfall ended before it was ready:\n${started.stderr()}`)
  return { ...started, ...(await readStarted(started)) }
}

async function readStarted({ dataFolder, stdout, stderr }: LandfallProcess) {
  const httpsPort = Number(/:(\d+)\//.exec(stdout())?.[1])
  const caFile = join(dataFolder, 'ca.pem')
  const ca = readFileSync(caFile, 'utf8')
  const adminToken = readFileSync(join(dataFolder, 'admin.token'), 'utf8').trim()
  const opsPort = () => Number(/127\.0\.0\.1:(\d+)\/metrics/.exec(stderr())?.[1] ?? 0)
  await until(() => opsPort() > 0, 'the operations port is printed')
  return {
    httpsPort,
    opsPort: opsPort(),
    caFile,
    ca,
    adminToken,
    admin: adminCallsOf({ httpsPort, ca, adminToken }),
  }
}
