/** Processes that carry out certificate orders over one Redis: whoever is killed is started again under its name. */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { OrderDemand } from '../../acme/orders/orders.ts'
import { until } from '../helpers/until.ts'

const PROGRAM = fileURLToPath(new URL('acme-runner-process.ts', import.meta.url))
/** What it logs when the store did not take a demand. */
export const NOT_WANTED = 'nothing was wanted'
const START_DEADLINE_MS = 30_000

export interface RunnerOptions {
  /** Of the edge that it stands for. */
  readonly name: string
  readonly redisUrl: string
  /** Of holds, and of its presence. */
  readonly holdMs: number
  readonly directory: string
  /** Roots of the authority's server. */
  readonly trustedPem: string
  /** `ip:port` of a DNS server. */
  readonly resolver: string
  /** 32 bytes in base64. */
  readonly secretKey: string
}

export interface RunnerLine {
  readonly level: string
  readonly text: string
  readonly fields: Readonly<Record<string, unknown>>
}

export type RunnerMessage = 'ready' | RunnerLine

export interface Runner {
  readonly name: string
  /** Of the process that there is now; its leases begin with it. */
  readonly pid: () => number
  readonly want: (demand: OrderDemand) => void
  readonly signal: (signal: NodeJS.Signals) => void
  /** Ends it at once; resolves when it is gone. */
  readonly kill: () => Promise<void>
  /** After `kill`: resolves when it works. */
  readonly start: () => Promise<void>
}

/** Started when it resolves. `lines` takes what it logs. */
export async function runnerFor(t: Test, options: RunnerOptions, lines: RunnerLine[]): Promise<Runner> {
  let child = await start(options, lines)
  t.teardown(() => end(child))
  return {
    name: options.name,
    pid: () => child.pid ?? 0,
    want: (demand) => void child.send(demand),
    signal: (signal) => void child.kill(signal),
    kill: () => end(child),
    start: async () => {
      child = await start(options, lines)
    },
  }
}

async function start(options: RunnerOptions, lines: RunnerLine[]): Promise<ChildProcess> {
  const child = fork(PROGRAM, [], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const state = { isReady: false }
  child.on('message', (message: RunnerMessage) => {
    if (message === 'ready') state.isReady = true
    else lines.push(message)
  })
  child.send(options)
  await until(() => state.isReady || !isAlive(child), `runner ${options.name} starts`, START_DEADLINE_MS)
  if (!isAlive(child)) throw new Error(`runner ${options.name} ended before it was ready`)
  return child
}

async function end(child: ChildProcess): Promise<void> {
  if (!isAlive(child)) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

function isAlive({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null
}
