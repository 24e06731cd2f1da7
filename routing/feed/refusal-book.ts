/** Records that were refused: counted, remembered, and told to the log without flooding it. */

import type { Log } from '../../lib/log.ts'
import { RecordInvalid } from '../errors.ts'
import type { Change } from '../store/store.ts'

/** One that is read again counts again. */
export interface Refusals {
  readonly count: number
  readonly last: Refusal | undefined
}

export interface Refusal {
  readonly key: string
  readonly revision: number
  readonly reason: string
}

/** A broken writer may spoil a million records; the first ones of each minute tell enough. */
const LINES_A_MINUTE = 100

export class RefusalBook implements Refusals {
  readonly #log: Log
  readonly #message: string
  #count = 0
  #last: Refusal | undefined
  #linesFrom = Number.NEGATIVE_INFINITY
  #lines = 0

  /** `what` refuses them: "the route table". */
  constructor(log: Log, what: string) {
    this.#log = log
    this.#message = `${what} refuses a record`
  }

  get count(): number {
    return this.#count
  }

  get last(): Refusal | undefined {
    return this.#last
  }

  add({ key, revision }: Pick<Change, 'key' | 'revision'>, error: unknown): void {
    const field = error instanceof RecordInvalid ? error.field : undefined
    const reason = error instanceof Error ? error.message : String(error)
    this.#count += 1
    this.#last = { key, revision, reason: field ? `${field}: ${reason}` : reason }
    if (this.#mayWrite()) this.#log.error({ err: error, key, revision, field }, this.#message)
  }

  #mayWrite(): boolean {
    const now = performance.now()
    if (now - this.#linesFrom > 60_000) {
      this.#linesFrom = now
      this.#lines = 0
    }
    this.#lines += 1
    return this.#lines <= LINES_A_MINUTE
  }
}
