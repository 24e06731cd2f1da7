/** The command line in this process: texts in, texts and an exit code out. */

import { PassThrough, Readable, Writable } from 'node:stream'
import type { Test } from 'tap'
import { runCli } from '../../cli/cli.ts'
import { folderFor } from '../helpers/folder.ts'
import { type ConnectScript, type Script, type ScriptedApi, scriptedApiFor, TOKEN } from './scripted-api.ts'

export interface CliResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly stdin?: string
  readonly stdinIsTerminal?: boolean
  readonly signal?: AbortSignal
  /** Standard output and error are terminals of so many columns. */
  readonly columns?: number
}

export type Cli = (line: readonly string[], options?: CliOptions) => Promise<CliResult>

/** Runs with an environment that has nothing but a home folder of the test's own. */
export function cliFor(t: Test, env: Readonly<Record<string, string>> = {}): Cli {
  const home = folderFor(t)
  return async (line, options = {}) => {
    const [stdout, stderr] = [collector(options.columns), collector(options.columns)]
    const code = await runCli(line, {
      env: { HOME: home, LANDFALL_DATA: `${home}/data`, ...env, ...options.env },
      stdin: Object.assign(Readable.from([options.stdin ?? '']), { isTTY: options.stdinIsTerminal ?? false }),
      stdout,
      stderr,
      signal: options.signal ?? new AbortController().signal,
    })
    return { code, stdout: stdout.text, stderr: stderr.text }
  }
}

/** The command line with a scripted API behind it. */
export async function scriptedCliFor(
  t: Test,
  script: Script,
  connect?: ConnectScript,
): Promise<ScriptedApi & { readonly cli: Cli }> {
  const api = await scriptedApiFor(t, script, connect)
  const cli = cliFor(t, {
    LANDFALL_API: api.url,
    LANDFALL_TOKEN: TOKEN,
    LANDFALL_CA_FILE: api.caFile,
  })
  return { ...api, cli }
}

class Collector extends Writable {
  text = ''

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk
    done()
  }
}

function collector(columns: number | undefined): Collector {
  const stream = new Collector()
  return columns === undefined ? stream : Object.assign(stream, { isTTY: true, columns })
}

/** A pipe whose reader went away. */
export function closedPipe(): PassThrough {
  const pipe = new PassThrough()
  pipe.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
  return pipe
}
