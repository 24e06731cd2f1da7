/** Where a command writes: names and documents to standard output, everything else to standard error. */

import { once } from 'node:events'
import type { Writable } from 'node:stream'
import type { Environment } from '../lib/env-reader.ts'
import { Interrupted } from './errors.ts'
import { layOut, type Terminal, type TextTable } from './text-table.ts'

/** `process.stdout` fits, and so does any writable stream. */
export interface CliStream extends Writable {
  readonly isTTY?: boolean
  readonly columns?: number
}

const MIN_COLUMNS = 40
const MAX_COLUMNS = 80

export class Output {
  readonly #stdout: CliStream
  readonly #stderr: CliStream
  readonly #env: Environment
  readonly #closed = new AbortController()

  constructor({ stdout, stderr, env }: { stdout: CliStream; stderr: CliStream; env: Environment }) {
    this.#stdout = stdout
    this.#stderr = stderr
    this.#env = env
    stdout.on('error', (error) => this.#closed.abort(error))
    // Nobody to tell: what is written to standard error is lost, the command goes on.
    stderr.on('error', () => {})
  }

  /** Aborts when nobody reads standard output any more, as behind `| head`. */
  get closed(): AbortSignal {
    return this.#closed.signal
  }

  /** Why standard output is lost, where it is not because its reader went away: a full disk, above all. */
  get fault(): Error | undefined {
    const { reason } = this.#closed.signal
    const isFault = reason instanceof Error && (reason as NodeJS.ErrnoException).code !== 'EPIPE'
    return this.#closed.signal.aborted && isFault ? reason : undefined
  }

  /** Cells of a line of standard error. */
  get columns(): number {
    return this.#stderr.columns ?? MAX_COLUMNS
  }

  /** True where progress may be redrawn in place. */
  get canRedraw(): boolean {
    return this.#stderr.isTTY === true && this.#env.TERM !== 'dumb'
  }

  /** One line, or many, of standard output. @throws Interrupted when nobody reads it */
  async print(text: string): Promise<void> {
    if (this.#closed.signal.aborted) throw new Interrupted()
    if (this.#stdout.write(`${text}\n`)) return
    await once(this.#stdout, 'drain', { signal: this.#closed.signal }).catch(() => {
      throw new Interrupted()
    })
  }

  /** Once all of it has been written, or cannot be. */
  async flush(): Promise<void> {
    if (this.#stdout.destroyed) return
    await new Promise<void>((resolve) => {
      this.#stdout.write('', () => resolve())
    })
  }

  async printJson(value: unknown): Promise<void> {
    await this.print(JSON.stringify(value, null, this.#stdout.isTTY === true ? 2 : undefined))
  }

  async printTable(table: TextTable): Promise<void> {
    await this.print(layOut(table, this.#terminal()).join('\n'))
  }

  /** Standard output for bytes that are no text. */
  get bytes(): Writable {
    return this.#stdout
  }

  /** A line of standard error. */
  say(text: string): void {
    this.#stderr.write(`${text}\n`)
  }

  /** Text of standard error as it is. */
  draw(text: string): void {
    this.#stderr.write(text)
  }

  #terminal(): Terminal {
    const { isTTY = false, columns } = this.#stdout
    const { NO_COLOR = '', TERM } = this.#env
    return {
      ...(isTTY && columns !== undefined && { columns: Math.max(columns, MIN_COLUMNS) }),
      hasColours: isTTY && NO_COLOR === '' && TERM !== 'dumb',
    }
  }
}
