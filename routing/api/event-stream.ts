/** The body of an answer that goes on: takes from its source only what the client takes, and stays alive when there is nothing. */

import { Readable } from 'node:stream'
import { Bell } from '../store/bell.ts'

export interface EventSource {
  /** For the id of keep-alives. */
  readonly revision: number
  read(signal: AbortSignal): AsyncIterable<string>
}

export interface EventStreamSettings {
  /** Sent first. */
  readonly opening: string
  readonly keepAliveMs: number
}

/** What is held for a client that does not read, beside one piece of the source. */
const BUFFER_BYTES = 16_384

export class EventStream extends Readable {
  readonly #source: EventSource
  readonly #stop = new AbortController()
  readonly #wanted = new Bell()
  readonly #timer: NodeJS.Timeout

  constructor(source: EventSource, { opening, keepAliveMs }: EventStreamSettings) {
    super({ highWaterMark: BUFFER_BYTES })
    this.#source = source
    this.push(opening)
    this.#timer = setInterval(() => this.#keepAlive(), keepAliveMs)
    this.#run().catch((error: Error) => this.destroy(error))
  }

  /** Ends in order. */
  end(): void {
    this.#stop.abort()
  }

  override _read(): void {
    this.#wanted.ring()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearInterval(this.#timer)
    this.#stop.abort()
    done(error)
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    for await (const text of this.#source.read(signal)) {
      if (signal.aborted) break
      if (text !== '' && !this.push(text)) await this.#wanted.wait(signal)
    }
    clearInterval(this.#timer)
    if (!this.destroyed) this.push(null)
  }

  /** Also tells how far the client has come, so that it does not come back to what was not for it. */
  #keepAlive(): void {
    const isBlocked = this.readableLength > 0
    if (!isBlocked && !this.#stop.signal.aborted) {
      this.push(`: keep-alive\nid: ${this.#source.revision}\n\n`)
    }
  }
}
