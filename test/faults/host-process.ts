/** `landfall host` of a fleet as an operator runs it: a process that leaves its VMs behind when it ends. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { until } from '../helpers/until.ts'
import type { LogLine } from './edge-process.ts'
import { DOMAIN } from './numbered-rows.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const START_DEADLINE_MS = 60_000
const END_DEADLINE_MS = 30_000
const SETTINGS = {
  LANDFALL_DOMAIN: DOMAIN,
  LANDFALL_STORE: 'redis',
  LANDFALL_VMM: 'qemu',
  LANDFALL_ACCEL: 'tcg',
  LANDFALL_NETWORK: 'user',
  LANDFALL_DISK_GRACE_S: '0',
  // The shortest there is.
  LANDFALL_USAGE_FLUSH_MS: '1000',
}

export interface HostProcess {
  readonly logged: () => readonly LogLine[]
  readonly isRunning: () => boolean
  readonly isReady: () => boolean
  /** Settles when it is ready. @throws Error with what it wrote when it ends before */
  readonly untilReady: () => Promise<void>
  /** Ends it with SIGKILL and waits for its end. */
  readonly kill: () => Promise<void>
  /** Ends it with SIGTERM; with its exit code. @throws Error with what it wrote when it does not end in time */
  readonly terminate: () => Promise<number | null>
}

export interface HostOptions {
  readonly redisUrl: string
  readonly dataFolder: string
  readonly cgroup: string
}

/** Returns at once. */
export function hostProcessFor(t: Test, { redisUrl, dataFolder, cgroup }: HostOptions): HostProcess {
  const child = spawn(process.execPath, ['main.ts', 'host'], {
    cwd: ROOT,
    env: {
      ...withoutSettings(process.env),
      ...SETTINGS,
      LANDFALL_DATA: dataFolder,
      LANDFALL_REDIS_URL: redisUrl,
      LANDFALL_CGROUP: cgroup,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const written = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    written.out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    written.err += text
  })
  const exited = once(child, 'close')
  const isRunning = () => child.exitCode === null && child.signalCode === null
  const isReady = () => written.out.includes('landfall ready host')
  const kill = async () => {
    child.kill('SIGKILL')
    await exited
  }
  t.teardown(kill)
  return {
    logged: () => toLines(written.err),
    isRunning,
    isReady,
    untilReady: async () => {
      await until(() => !isRunning() || isReady(), 'the host is ready', START_DEADLINE_MS)
      if (!isRunning()) throw new Error(`the host ended before it was ready:\n${written.err}`)
    },
    kill,
    terminate: async () => {
      child.kill('SIGTERM')
      await until(() => !isRunning(), 'the host ends', END_DEADLINE_MS).catch((cause: unknown) => {
        throw new Error(`the host does not end:\n${written.err}`, { cause })
      })
      return child.exitCode
    },
  }
}

function toLines(text: string): readonly LogLine[] {
  const whole = text.slice(0, text.lastIndexOf('\n') + 1).split('\n')
  return whole.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as LogLine)
}

function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('LANDFALL_')))
}
