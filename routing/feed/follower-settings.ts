/** What a feed follower may be told, and what it takes for granted. */

import type { Position } from '../store/store.ts'

export const DEFAULTS = {
  startLimitMs: Number.POSITIVE_INFINITY,
  minRetryMs: 100,
  maxRetryMs: 2_000,
  probeMs: 5_000,
  now: () => performance.now(),
  onConfirmed: () => {},
} as const

export interface FollowerSettings {
  /** Keys that start with one of them make up the copy. */
  readonly prefixes: readonly string[]
  /** The copy in words, for the log: "the route table". */
  readonly what: string
  /** The copy holds what was read there by an earlier process, which it may go on from. */
  readonly from?: Origin
  /** The longest wait of `startFollower`, for a copy that can serve without the store; no limit by default. */
  readonly startLimitMs?: number
  /** The first wait after a loss; it doubles up to `maxRetryMs`. 100 by default. */
  readonly minRetryMs?: number
  /** 2,000 by default. */
  readonly maxRetryMs?: number
  /** How often a quiet store is asked whether it is still there. 5,000 by default. */
  readonly probeMs?: number
  /** Milliseconds on a clock that never goes back. */
  readonly now?: () => number
  /** Called once, when the store has confirmed the copy for the first time. */
  readonly onConfirmed?: () => void
}

/** Where a copy came from. */
export interface Origin {
  readonly storeId: string
  readonly position: Position
  /** For how long it has not been known to be fresh, in milliseconds. */
  readonly ageMs: number
}
