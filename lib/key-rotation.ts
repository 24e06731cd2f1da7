/** Keys that are replaced on a schedule by many processes over one store: each looks by itself, and one of them succeeds. */

import type { Log } from './log.ts'

/** Times in milliseconds. */
export interface Schedule {
  /** For how long a key is in use. */
  readonly keyMs: number
  /** For how long everybody knows a key before it is in use. */
  readonly aheadMs: number
}

/** When a key's use begins; ISO 8601. */
type FromOf<Row> = (row: Row) => string

/** By when their use begins, then by id: whoever sees the same rows sees the same order. */
export function toTurns<Row extends { readonly id: string }>(
  rows: readonly Row[],
  fromOf: FromOf<Row>,
): readonly Row[] {
  return rows.toSorted(
    (one, other) => Date.parse(fromOf(one)) - Date.parse(fromOf(other)) || (one.id < other.id ? -1 : 1),
  )
}

/** The last that has begun. */
export function findCurrent<Row extends { readonly id: string }>(
  rows: readonly Row[],
  fromOf: FromOf<Row>,
  nowMs: number,
): Row | undefined {
  const turns = toTurns(rows, fromOf)
  // The first key of all was just made by a process whose clock is ahead of this one's.
  return turns.findLast((row) => Date.parse(fromOf(row)) <= nowMs) ?? turns[0]
}

/** When the key after the one that began at `fromMs` begins, in Unix milliseconds; undefined while none has to be added. */
export function findNextTurn(
  fromMs: number,
  { keyMs, aheadMs }: Schedule,
  nowMs: number,
): number | undefined {
  const dueMs = fromMs + keyMs
  return nowMs < dueMs - aheadMs ? undefined : Math.max(dueMs, nowMs + aheadMs)
}

export interface RotatedKeys {
  /** For the log: `the signing keys`. */
  readonly what: string
  readonly log: Log
  /** As memory says, which may be behind the store: the store is asked only when something seems to be due. */
  readonly isDue: () => boolean
  /** Adds what is due, as the store says; from then on the store has keys. */
  readonly addDue: () => Promise<void>
  /** Whether a key is in use here. */
  readonly isInUse: () => boolean
  /** After each look, also of one that failed. Never throws or rejects. */
  readonly settle: () => void | Promise<void>
  /** Calls `ring` when memory has changed; returns what ends it. */
  readonly onChange: (ring: () => void) => () => void
}

const CHECK_MS = 10_000

export class KeyRotation implements AsyncDisposable {
  readonly #keys: RotatedKeys
  readonly #timer: NodeJS.Timeout
  #rotating: Promise<void> | undefined
  /** The store has keys; memory may not have them yet. */
  #hasKeys = false

  constructor(keys: RotatedKeys) {
    this.#keys = keys
    this.#timer = setInterval(() => void this.rotate(), CHECK_MS)
    this.#timer.unref()
  }

  /** Done by itself every 10 s, one at a time. Never rejects. */
  rotate(): Promise<void> {
    this.#rotating ??= this.#look().finally(() => {
      this.#rotating = undefined
    })
    return this.#rotating
  }

  /** Resolves when a key is in use here, or when it is clear that none will soon: the store is away. */
  async start(limitMs: number): Promise<void> {
    await this.rotate()
    if (!this.#hasKeys || this.#keys.isInUse()) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const stop = this.#keys.onChange(() => {
      if (this.#keys.isInUse()) resolve()
    })
    const timer = setTimeout(resolve, limitMs)
    await promise
    clearTimeout(timer)
    stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    await this.#rotating
  }

  async #look(): Promise<void> {
    const { what, log, isDue, addDue, settle } = this.#keys
    try {
      if (isDue()) {
        await addDue()
        this.#hasKeys = true
      }
    } catch (error) {
      log.warn({ err: error }, `${what} could not be read or written; tried again in 10 s`)
    }
    await settle()
  }
}
