/** A VM's console in a file of bounded size, and its last lines. */

import { appendFile, readFile, rename } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { readLines } from '../lines.ts'

const LAST_LINES = 20
const MAX_FILE_BYTES = 262_144
const FLUSH_MS = 250

/** Keeps this file and the one before it. What comes while nobody follows is lost: the VMM drops it. */
export class ConsoleLog {
  readonly #file: string
  readonly #lastLines: string[] = []
  #pending: string[] = []
  #bytes = 0
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()
  #stream: Readable | undefined

  constructor(file: string) {
    this.#file = file
  }

  /** What an earlier process of ours wrote. */
  async load(): Promise<void> {
    const text = await readFile(this.#file, 'utf8').catch(() => '')
    this.#bytes = Buffer.byteLength(text)
    this.#lastLines.unshift(...text.split('\n').filter(Boolean).slice(-LAST_LINES))
  }

  follow(stream: Readable): void {
    this.#stream = stream
    readLines(stream, (line) => this.#take(line))
  }

  get lastLines(): readonly string[] {
    return [...this.#lastLines]
  }

  /** Follows no more: an open socket would keep this process from its end. */
  async letGo(): Promise<void> {
    this.#stream?.destroy()
    await this.close()
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer)
    this.#flush()
    await this.#writing
  }

  #take(line: string): void {
    this.#lastLines.push(line)
    if (this.#lastLines.length > LAST_LINES) this.#lastLines.shift()
    this.#pending.push(line)
    this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS)
  }

  #flush(): void {
    this.#timer = undefined
    if (this.#pending.length === 0) return
    const text = `${this.#pending.join('\n')}\n`
    this.#pending = []
    // A log that cannot be written, on a full disk for one, must not end the VM.
    this.#writing = this.#writing.then(() => this.#write(text)).catch(() => undefined)
  }

  async #write(text: string): Promise<void> {
    if (this.#bytes > MAX_FILE_BYTES) {
      await rename(this.#file, `${this.#file}.1`)
      this.#bytes = 0
    }
    await appendFile(this.#file, text, { mode: 0o600 })
    this.#bytes += Buffer.byteLength(text)
  }
}
