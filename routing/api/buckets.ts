/** Token buckets by name: how often something may happen for long, and how often at once. */

const MS_PER_SECOND = 1_000
/** Names that are kept; the longest unused goes first. About 150 bytes each. */
export const MAX_NAMES = 10_000

export interface BucketSize {
  /** What a name that was not seen for long has. */
  readonly capacity: number
  /** What comes back in a second. */
  readonly perSecond: number
}

interface Bucket {
  readonly level: number
  /** Milliseconds of `performance.now()`. */
  readonly at: number
}

export class Buckets {
  readonly #size: BucketSize
  /** In the order of their last use. */
  readonly #buckets = new Map<string, Bucket>()

  constructor(size: BucketSize) {
    this.#size = size
  }

  /** False when the bucket is empty. */
  take(name: string): boolean {
    const level = this.#levelOf(name)
    this.#set(name, level < 1 ? level : level - 1)
    return level >= 1
  }

  giveBack(name: string): void {
    this.#set(name, this.#levelOf(name) + 1)
  }

  #levelOf(name: string): number {
    const { capacity, perSecond } = this.#size
    const bucket = this.#buckets.get(name)
    if (bucket === undefined) return capacity
    const seconds = (performance.now() - bucket.at) / MS_PER_SECOND
    return Math.min(capacity, bucket.level + seconds * perSecond)
  }

  #set(name: string, level: number): void {
    this.#buckets.delete(name)
    this.#buckets.set(name, { level: Math.min(level, this.#size.capacity), at: performance.now() })
    const [oldest] = this.#buckets.keys()
    if (this.#buckets.size > MAX_NAMES && oldest !== undefined) this.#buckets.delete(oldest)
  }
}
