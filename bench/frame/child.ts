/** A child process pinned to one core or several, with an owner: it ends with its tree, whatever way the run ends. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { BenchError } from './benchmark.ts'
import { pinned } from './cores.ts'
import { findTree, killRemaining, readTreeCpuMs, readTreeMemoryMb, sendSignal } from './process-tree.ts'

export interface ChildSettings {
  readonly name: string
  readonly core: number | readonly number[]
  readonly command: readonly string[]
  readonly cwd: string
  readonly env?: NodeJS.ProcessEnv
  /** Takes what it prints; appended to, so that it may be truncated meanwhile. */
  readonly outputFile: string
  /** It serves once all of them take connections on 127.0.0.1. */
  readonly ports: readonly number[]
  /** How long that may take; 20 s by default. */
  readonly startMs?: number
  readonly signal: AbortSignal
}

export interface Child extends AsyncDisposable {
  /** CPU time of its process tree since the start, user and system, in steps of 10 ms. */
  readCpuMs(): number
  /** Of its process tree, in MiB. */
  readMemoryMb(): number
}

const START_MS = 20_000
const END_MS = 5_000
const POLL_MS = 20
const SHOWN_OUTPUT_CHARACTERS = 2_000

/** Resolves when its ports are open. @throws BenchError with the end of its output */
export async function startChild(settings: ChildSettings): Promise<Child> {
  const { command, core, cwd, env = process.env } = settings
  const [file, ...args] = pinned(core, command)
  const output = openSync(settings.outputFile, 'a')
  const child = spawn(file, args, { cwd, env, stdio: ['ignore', output, output] })
  closeSync(output)
  await once(child, 'spawn')
  const pid = child.pid as number
  const killNow = () => killRemaining(findTree(pid))
  process.once('exit', killNow)
  await using started = new AsyncDisposableStack()
  started.defer(async () => {
    await end(child, pid)
    process.off('exit', killNow)
  })
  await waitForPorts(child, settings)
  const running = started.move()
  return {
    readCpuMs: () => readTreeCpuMs(pid),
    readMemoryMb: () => readTreeMemoryMb(pid),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

async function waitForPorts(child: ChildProcess, settings: ChildSettings): Promise<void> {
  const deadline = performance.now() + (settings.startMs ?? START_MS)
  for (const port of settings.ports) {
    while (!(await isOpen(port))) {
      if (hasEnded(child)) throw failed(settings, 'ended at once')
      if (performance.now() > deadline) throw failed(settings, `did not open port ${port} in time`)
      await delay(POLL_MS, undefined, { signal: settings.signal })
    }
  }
}

function failed({ name, outputFile }: ChildSettings, what: string): BenchError {
  const output = readFileSync(outputFile, 'utf8').slice(-SHOWN_OUTPUT_CHARACTERS).trim()
  return new BenchError(`${name} ${what}${output === '' ? '' : `; it said:\n${output}`}`)
}

function isOpen(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect(port, '127.0.0.1')
  socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
  return promise.finally(() => socket.destroy())
}

/** Asks first, then kills what is left of the tree: a killed parent would leave its workers behind. */
async function end(child: ChildProcess, pid: number): Promise<void> {
  const tree = findTree(pid)
  if (!hasEnded(child)) {
    const exited = once(child, 'exit')
    sendSignal(pid, 'SIGTERM')
    const deadline = new AbortController()
    await Promise.race([exited, delay(END_MS, undefined, { signal: deadline.signal }).catch(() => {})])
    deadline.abort()
  }
  killRemaining(tree)
  if (!hasEnded(child)) await once(child, 'exit')
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null
}
