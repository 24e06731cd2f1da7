/** Runs a short-lived program of the system to its end, within a time and with bounded output. */

import { execFile } from 'node:child_process'
import { SidecarError } from './errors.ts'

export interface CommandOptions {
  readonly cwd?: string
  /** Written to its standard input. */
  readonly input?: string | Uint8Array
  /** Default 30,000. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** All that it sees; PATH alone when absent. */
  readonly env?: Readonly<Record<string, string>>
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const MAX_OUTPUT_BYTES = 16 * 1_048_576
const SHOWN_CHARACTERS = 500

/** Its standard output. @throws SidecarError command_failed with what it wrote to its error output */
export function runCommand(
  file: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const { input, timeoutMs = 30_000, env = {}, ...rest } = options
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const settings = {
    ...rest,
    env: { PATH, LC_ALL: 'C', ...env },
    timeout: timeoutMs,
    maxBuffer: MAX_OUTPUT_BYTES,
  }
  const child = execFile(file, [...args], settings, (cause, stdout, stderr) => {
    if (cause === null) return resolve(stdout)
    const said = stderr.trim().slice(-SHOWN_CHARACTERS) || cause.message.slice(0, SHOWN_CHARACTERS)
    reject(new SidecarError('command_failed', { cause, detail: `${file}: ${said}` }))
  })
  // A program that ends without reading its input is judged by its exit.
  child.stdin?.on('error', () => undefined)
  child.stdin?.end(input)
  return promise
}
