/** Brings the newest of a series of reports to its reader, again and again until it has arrived. */

import { setTimeout } from 'node:timers/promises'
import type { Log } from '../lib/log.ts'
import { Allowance } from './allowance.ts'

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

/** Each is written to the table and told to every edge, and a guest may change its ports as often as it likes. */
const OFTEN = { burst: 20, everyMs: 500 }

/** Reports that were overtaken by a newer one are left out; what arrives is always in order. */
export class Reporter<Report> implements AsyncDisposable {
  readonly #deps: ReporterDeps<Report>
  readonly #settings: ReporterSettings
  readonly #ended = new AbortController()
  readonly #allowance = new Allowance(OFTEN)
  #next: { readonly value: Report } | undefined
  #isSending = false
  #sending: Promise<void> = Promise.resolve()
  /** Until the newest was tried. */
  #untried: PromiseWithResolvers<void> | undefined

  constructor(deps: ReporterDeps<Report>, settings: ReporterSettings) {
    this.#deps = deps
    this.#settings = settings
  }

  /** Returns at once; the report is on its way. */
  publish(value: Report): void {
    this.#next = { value }
    this.#untried ??= Promise.withResolvers()
    if (!this.#isSending) this.#sending = this.#sendAll()
  }

  /** Settles when what was published last was tried once, whether it arrived or not. */
  async attempted(): Promise<void> {
    await this.#untried?.promise
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
      const waitMs = this.#allowance.take()
      // What is published meanwhile takes the place of what waits.
      if (waitMs > 0) await this.#pause(waitMs)
      const sent = this.#next
      const isEnding = this.#ended.signal.aborted
      const arrived = await this.#send(sent)
      this.#settle(sent, arrived)
      if (!arrived) await this.#pause(pauseMs)
      pauseMs = arrived ? this.#settings.retryMs : Math.min(pauseMs * 2, this.#settings.maxRetryMs)
      isLast = isEnding && !arrived
    }
    this.#sayTried()
    this.#isSending = false
  }

  /** One that was overtaken meanwhile settles nothing. */
  #settle(sent: { readonly value: Report }, arrived: boolean): void {
    if (this.#next !== sent) return
    this.#sayTried()
    if (arrived) this.#next = undefined
  }

  #sayTried(): void {
    this.#untried?.resolve()
    this.#untried = undefined
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
