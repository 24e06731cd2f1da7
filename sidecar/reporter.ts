/** Brings the newest of a series of reports to its reader, again and again until it has arrived. */

import { setTimeout } from 'node:timers/promises'
import type { Log } from '../lib/log.ts'

export interface ReporterDeps<Report> {
  readonly report: (value: Report) => Promise<void>
  readonly log: Log
}

/** Reports that were overtaken by a newer one are left out; what arrives is always in order. */
export class Reporter<Report> {
  readonly #deps: ReporterDeps<Report>
  readonly #retryMs: number
  readonly #ended = new AbortController()
  #next: { readonly value: Report } | undefined
  #sending: Promise<void> | undefined
  #attempt: Promise<boolean> | undefined

  constructor(deps: ReporterDeps<Report>, { retryMs }: { readonly retryMs: number }) {
    this.#deps = deps
    this.#retryMs = retryMs
  }

  /** Returns at once; the report is on its way. */
  publish(value: Report): void {
    this.#next = { value }
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined
    })
  }

  /** Settles when the attempt under way is over, whether the report arrived or not. */
  async attempted(): Promise<void> {
    await this.#attempt
  }

  /** Sends a last report, with one attempt once the attempt under way is over. */
  async end(value: Report): Promise<void> {
    this.#next = undefined
    this.#ended.abort()
    await this.#sending
    await this.#send({ value })
  }

  async #sendAll(): Promise<void> {
    while (this.#next) {
      const sent = this.#next
      this.#attempt = this.#send(sent)
      const arrived = await this.#attempt
      if (arrived && this.#next === sent) this.#next = undefined
      if (!arrived) await this.#pause()
    }
  }

  async #send({ value }: { readonly value: Report }): Promise<boolean> {
    try {
      await this.#deps.report(value)
      return true
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'report did not arrive')
      return false
    }
  }

  async #pause(): Promise<void> {
    await setTimeout(this.#retryMs, undefined, { signal: this.#ended.signal }).catch(() => undefined)
  }
}
