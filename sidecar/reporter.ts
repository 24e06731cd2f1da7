/** Brings the newest of a series of reports to its reader, again and again until it has arrived. */

import { setTimeout } from 'node:timers/promises'
import type { Log } from '../lib/log.ts'

export interface ReporterDeps<Report> {
  readonly report: (value: Report) => Promise<void>
  readonly log: Log
  /** What the reports are about, for the log. */
  readonly about: Readonly<Record<string, unknown>>
}

export interface ReporterSettings {
  /** The pause before a report that did not arrive is sent again; each further one is twice as long. */
  readonly retryMs: number
  /** No pause is longer. */
  readonly maxRetryMs: number
}

/** Reports that were overtaken by a newer one are left out; what arrives is always in order. */
export class Reporter<Report> implements AsyncDisposable {
  readonly #deps: ReporterDeps<Report>
  readonly #settings: ReporterSettings
  readonly #ended = new AbortController()
  #next: { readonly value: Report } | undefined
  #isSending = false
  #sending: Promise<void> = Promise.resolve()
  #attempt: Promise<boolean> | undefined

  constructor(deps: ReporterDeps<Report>, settings: ReporterSettings) {
    this.#deps = deps
    this.#settings = settings
  }

  /** Returns at once; the report is on its way. */
  publish(value: Report): void {
    this.#next = { value }
    if (!this.#isSending) this.#sending = this.#sendAll()
  }

  /** Settles when the attempt under way is over, whether the report arrived or not. */
  async attempted(): Promise<void> {
    await this.#attempt
  }

  /** Settles when all has arrived, or was given up by disposal. */
  async drained(): Promise<void> {
    await this.#sending
  }

  /** One more attempt for what has not arrived. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort()
    await this.#sending
  }

  /** Never rejects. What is published after its last look at `#next` must find that it is over. */
  async #sendAll(): Promise<void> {
    this.#isSending = true
    let pauseMs = this.#settings.retryMs
    let isLast = false
    while (this.#next && !isLast) {
      const sent = this.#next
      const isEnding = this.#ended.signal.aborted
      this.#attempt = this.#send(sent)
      const arrived = await this.#attempt
      if (arrived && this.#next === sent) this.#next = undefined
      if (!arrived) await this.#pause(pauseMs)
      pauseMs = arrived ? this.#settings.retryMs : Math.min(pauseMs * 2, this.#settings.maxRetryMs)
      isLast = isEnding && !arrived
    }
    this.#isSending = false
  }

  async #send({ value }: { readonly value: Report }): Promise<boolean> {
    try {
      await this.#deps.report(value)
      return true
    } catch (error) {
      this.#deps.log.warn({ ...this.#deps.about, err: error }, 'report did not arrive')
      return false
    }
  }

  async #pause(pauseMs: number): Promise<void> {
    await setTimeout(pauseMs, undefined, { signal: this.#ended.signal }).catch(() => undefined)
  }
}
