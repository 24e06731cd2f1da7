/** How often something may happen that a VM brings about: some times at once, and then once in a while. */

export interface AllowanceSettings {
  /** How often at once. */
  readonly burst: number
  /** After which time once more. */
  readonly everyMs: number
}

export class Allowance {
  readonly #settings: AllowanceSettings
  #owedMs = 0
  #countedAt = performance.now()

  constructor(settings: AllowanceSettings) {
    this.#settings = settings
  }

  /** Counts one, and answers how many milliseconds to wait with it. */
  take(): number {
    const { burst, everyMs } = this.#settings
    const now = performance.now()
    this.#owedMs = Math.max(0, this.#owedMs - (now - this.#countedAt)) + everyMs
    this.#countedAt = now
    return Math.max(0, this.#owedMs - burst * everyMs)
  }
}
