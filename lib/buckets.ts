/** Token buckets by name: how often something may happen for long, and how often at once. */

const MS_PER_SECOND = 1_000
const MAX_NAMES = 10_000
/** What a sum of parts may lack of a whole one. */
const ROUNDING = 1e-9

export interface BucketSettings {
  /** What a name that was not seen for long has. */
  readonly capacity: number
  /** What comes back in a second. */
  readonly perSecond: number
  /** Names that are kept; the longest unused goes first. About 150 bytes each; 10,000 by default. */
  readonly maxNames?: number
  /** Milliseconds; of a clock that does not jump unless given. */
  readonly now?: () => number
}

interface Bucket {
  readonly level: number
  /** Milliseconds of `now`. */
  readonly at: number
}

export class Buckets {
  readonly #settings: Required<BucketSettings>
  /** In the order of their last use. */
  readonly #buckets = new Map<string, Bucket>()

  constructor(settings: BucketSettings) {
    this.#settings = { maxNames: MAX_NAMES, now: () => performance.now(), ...settings }
  }

  /** False when the bucket is empty. */
  take(name: string): boolean {
    const level = this.#levelOf(name)
    const isLeft = level >= 1 - ROUNDING
    this.#set(name, isLeft ? level - 1 : level)
    return isLeft
  }

  giveBack(name: string): void {
    this.#set(name, this.#levelOf(name) + 1)
  }

  /** How long until there is one; 0 while there is. Whole milliseconds. */
  waitMs(name: string): number {
    const missing = 1 - ROUNDING - this.#levelOf(name)
    return missing <= 0 ? 0 : Math.ceil((missing * MS_PER_SECOND) / this.#settings.perSecond)
  }

  #levelOf(name: string): number {
    const { capacity, perSecond, now } = this.#settings
    const bucket = this.#buckets.get(name)
    if (bucket === undefined) return capacity
    const seconds = Math.max(0, now() - bucket.at) / MS_PER_SECOND
    return Math.min(capacity, bucket.level + seconds * perSecond)
  }

  #set(name: string, level: number): void {
    const { capacity, maxNames, now } = this.#settings
    this.#buckets.delete(name)
    this.#buckets.set(name, { level: Math.min(level, capacity), at: now() })
    const [oldest] = this.#buckets.keys()
    if (this.#buckets.size > maxNames && oldest !== undefined) this.#buckets.delete(oldest)
  }
}
