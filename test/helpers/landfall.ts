/** `landfall dev` as a user runs it: a process of its own with free ports and its own data folder, ended with the test. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { type AdminCall, adminCallOf } from './admin-call.ts'
import { folderFor } from './folder.ts'
import { until } from './until.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const START_DEADLINE_MS = 30_000
const FREE_PORTS = { LANDFALL_HTTPS_PORT: '0', LANDFALL_HTTP_PORT: '0', LANDFALL_OPS_PORT: '0' }
/** A start with real guests takes seconds, which only tests of guests have a use for. */
const QUICK = { LANDFALL_VMM: 'process', LANDFALL_DISK_GRACE_S: '0' }

export interface LandfallProcess {
  readonly pid: number
  readonly dataFolder: string
  /** Everything written so far. */
  readonly stdout: () => string
  readonly stderr: () => string
  readonly signal: (signal: NodeJS.Signals) => void
  /** Settles when the process is gone and its output is read. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
}

export interface Landfall extends LandfallProcess {
  readonly httpsPort: number
  readonly opsPort: number
  readonly ca: string
  readonly caFile: string
  readonly adminToken: string
  readonly admin: AdminCall
}

export interface LandfallOptions {
  readonly env?: Readonly<Record<string, string>>
  /** The folder of an earlier start; otherwise a new one. */
  readonly dataFolder?: string
}

/** Starts it and returns at once, whatever becomes of it. */
export function landfallProcessFor(t: Test, options: LandfallOptions = {}): LandfallProcess {
  const dataFolder = options.dataFolder ?? join(folderFor(t), 'data')
  const child = spawn(process.execPath, ['main.ts', 'dev'], {
    cwd: ROOT,
    env: {
      ...withoutSettings(process.env),
      ...FREE_PORTS,
      ...QUICK,
      LANDFALL_DATA: dataFolder,
      ...options.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(child, 'close').then(([code, signal]) => ({ code, signal }))
  t.teardown(async () => {
    // A VM outlives nobody: it ends when its channel to this process closes.
    child.kill('SIGKILL')
    await exited
  })
  return {
    pid: child.pid ?? 0,
    dataFolder,
    stdout: collect(child.stdout),
    stderr: collect(child.stderr),
    signal: (signal) => void child.kill(signal),
    exited,
  }
}

/** Starts it and waits for the line that says it serves. @throws Error with what it wrote when it ends before */
export async function landfallFor(t: Test, options: LandfallOptions = {}): Promise<Landfall> {
  const started = landfallProcessFor(t, options)
  const isGone = settlesLater(started.exited)
  await until(() => isGone() || started.stdout().includes('\n'), 'landfall is ready', START_DEADLINE_MS)
  if (isGone()) throw new Error(`landfall ended before it was ready:\n${started.stderr()}`)
  const opsPort = () => Number(/127\.0\.0\.1:(\d+)\/metrics/.exec(started.stderr())?.[1] ?? 0)
  await until(() => opsPort() > 0, 'the operations port is printed')
  const httpsPort = Number(/:(\d+)\/\n/.exec(started.stdout())?.[1])
  const caFile = join(started.dataFolder, 'ca.pem')
  const ca = readFileSync(caFile, 'utf8')
  const adminToken = readFileSync(join(started.dataFolder, 'admin.token'), 'utf8').trim()
  const admin = adminCallOf({ httpsPort, ca, adminToken })
  return { ...started, httpsPort, opsPort: opsPort(), caFile, ca, adminToken, admin }
}

/** The ids of the processes that have `pid` as parent. */
export function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return text === '' ? [] : text.split(' ').map(Number)
}

/** False for a process that is gone or a zombie. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** Ends it with SIGKILL; false when it ended by itself since its id was read. */
export function killIfThere(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false
    throw error
  }
}

function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('LANDFALL_')))
}

function collect(stream: ChildProcess['stdout']): () => string {
  let text = ''
  stream?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  return () => text
}

function settlesLater(promise: Promise<unknown>): () => boolean {
  let isSettled = false
  const settle = () => {
    isSettled = true
  }
  promise.then(settle, settle)
  return () => isSettled
}
