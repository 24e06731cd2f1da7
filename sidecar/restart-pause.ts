/** How long to wait before a VM that ended is started again: longer each time, until it has run for a while. */

import { setTimeout } from 'node:timers/promises'

export interface RestartPauseSettings {
  readonly firstPauseMs: number
  readonly maxPauseMs: number
  /** Who ran for this long starts over with the first pause. */
  readonly stableMs: number
}

export class RestartPause {
  readonly #settings: RestartPauseSettings
  #nextMs: number

  constructor(settings: RestartPauseSettings) {
    this.#settings = settings
    this.#nextMs = settings.firstPauseMs
  }

  /** Settles early when `signal` aborts. */
  async wait(ranMs: number, signal: AbortSignal): Promise<void> {
    const { firstPauseMs, maxPauseMs, stableMs } = this.#settings
    const pauseMs = ranMs >= stableMs ? firstPauseMs : this.#nextMs
    this.#nextMs = Math.min(pauseMs * 2, maxPauseMs)
    await setTimeout(pauseMs, undefined, { signal }).catch(() => undefined)
  }
}
