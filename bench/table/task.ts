/** A child process that does one part of the table benchmark and tells its results in messages. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { BenchError } from '../frame/benchmark.ts'
import { pinned } from '../frame/cores.ts'

export interface TaskSettings {
  /** A file of this folder, or its URL. */
  readonly file: string
  /** JSON; the child finds it in its arguments. */
  readonly input: object
  readonly cores: readonly number[]
  readonly signal: AbortSignal
  /** Where its errors are told; with the parent's by default. */
  readonly stderr?: 'inherit' | 'ignore'
}

export interface Task extends AsyncDisposable {
  send(message: object): void
  /** The next message. @throws BenchError when the child ends before, or none comes within five minutes */
  receive<Message>(): Promise<Message>
}

const LIMIT_MS = 300_000

/** As `npm start` runs Landfall; the collector is called before memory is read. */
const NODE_OPTIONS = ['--max-semi-space-size=32', '--expose-gc']

export function startTask({ file, input, cores, signal, stderr = 'inherit' }: TaskSettings): Task {
  const path = fileURLToPath(new URL(file, import.meta.url))
  const [command, ...args] = pinned(cores, [process.execPath, ...NODE_OPTIONS, path, JSON.stringify(input)])
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', stderr, 'ipc'], signal })
  return new ChildTask(child, file)
}

class ChildTask implements Task {
  readonly #child: ChildProcess
  readonly #name: string
  readonly #messages: unknown[] = []
  #wake = () => {}
  #failure: BenchError | undefined

  constructor(child: ChildProcess, name: string) {
    this.#child = child
    this.#name = name
    child.on('message', (message) => {
      this.#messages.push(message)
      this.#wake()
    })
    child.once('error', (error) => this.#fail('cannot be run', error))
    child.once('exit', (code, signal) => this.#fail(`ended before its time (${code ?? signal})`))
  }

  send(message: object): void {
    this.#child.send(message)
  }

  async receive<Message>(): Promise<Message> {
    const limit = setTimeout(() => this.#fail('said nothing in time'), LIMIT_MS)
    try {
      await this.#awaitMessage()
    } finally {
      clearTimeout(limit)
    }
    return this.#messages.shift() as Message
  }

  async #awaitMessage(): Promise<void> {
    while (this.#messages.length === 0) {
      if (this.#failure !== undefined) throw this.#failure
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  #fail(what: string, cause?: unknown): void {
    this.#failure ??= new BenchError(`${this.#name} ${what}`, { cause })
    this.#wake()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { exitCode, signalCode, pid } = this.#child
    if (pid === undefined || exitCode !== null || signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}
