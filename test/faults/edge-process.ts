/** `landfall edge` of a fleet as an operator runs it: a process with its own data folder and free ports. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { folderFor } from '../helpers/folder.ts'
import { until } from '../helpers/until.ts'
import { DOMAIN } from './numbered-rows.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const START_DEADLINE_MS = 30_000
const SETTINGS = {
  LANDFALL_DOMAIN: DOMAIN,
  LANDFALL_STORE: 'redis',
  LANDFALL_HTTPS_PORT: '0',
  LANDFALL_HTTP_PORT: '0',
  LANDFALL_OPS_PORT: '0',
  LANDFALL_ACCESS_LOG: 'off',
  // The shortest there is.
  LANDFALL_SNAPSHOT_INTERVAL_MS: '1000',
}

export interface EdgeProcess {
  readonly name: string
  readonly httpsPort: number
  readonly opsPort: number
  /** PEM of the local CA. */
  readonly ca: string
  readonly bootstrapToken: string
  readonly dataFolder: string
  /** Log lines so far, parsed. */
  readonly logged: () => readonly LogLine[]
  readonly isRunning: () => boolean
  readonly signal: (signal: NodeJS.Signals) => void
  /** Ends it at once and waits for its end. */
  readonly kill: () => Promise<void>
}

export interface LogLine {
  readonly level: number
  readonly msg: string
  readonly [field: string]: unknown
}

export interface EdgeOptions {
  readonly name: string
  readonly redisUrl: string
  readonly secretKeyFile: string
  /** The folder of an earlier run; otherwise a new one. */
  readonly dataFolder?: string | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
}

/** Waits for the line that says it has started. @throws Error with what it wrote when it ends before */
export async function edgeProcessFor(t: Test, options: EdgeOptions): Promise<EdgeProcess> {
  const { name, redisUrl, secretKeyFile, dataFolder = join(folderFor(t), 'data'), env } = options
  const child = spawn(process.execPath, ['main.ts', 'edge'], {
    cwd: ROOT,
    env: {
      ...withoutSettings(process.env),
      ...SETTINGS,
      LANDFALL_DATA: dataFolder,
      LANDFALL_EDGE_NAME: name,
      LANDFALL_REDIS_URL: redisUrl,
      LANDFALL_SECRET_KEY_FILE: secretKeyFile,
      ...env,
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
  const kill = async () => {
    child.kill('SIGKILL')
    await exited
  }
  t.teardown(kill)
  const opsPort = () => Number(/127\.0\.0\.1:(\d+)\/metrics/.exec(written.err)?.[1] ?? 0)
  const hasStarted = () => !isRunning() || (written.out.includes('\n') && opsPort() > 0)
  await until(hasStarted, `edge ${name} starts`, START_DEADLINE_MS)
  if (!isRunning()) throw new Error(`edge ${name} ended before it was ready:\n${written.err}`)
  return {
    name,
    httpsPort: Number(/:(\d+)\/\n/.exec(written.out)?.[1]),
    opsPort: opsPort(),
    ca: readFileSync(join(dataFolder, 'ca.pem'), 'utf8'),
    bootstrapToken: readFileSync(join(dataFolder, 'admin.token'), 'utf8').trim(),
    dataFolder,
    logged: () => toLines(written.err),
    isRunning,
    signal: (signal) => void child.kill(signal),
    kill,
  }
}

function toLines(text: string): readonly LogLine[] {
  const whole = text.slice(0, text.lastIndexOf('\n') + 1).split('\n')
  return whole.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as LogLine)
}

function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('LANDFALL_')))
}
