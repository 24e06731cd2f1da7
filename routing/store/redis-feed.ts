/** Reads the feed, and compares its history with a place that a watcher knows. */

import type { RedisClient } from './redis-clients.ts'
import type { RedisHistory } from './redis-history.ts'
import { type FeedEntry, type RawEntry, toFeedEntry } from './redis-rows.ts'
import type { Place } from './redis-window.ts'

/** Larger than all ids of one revision, of which only the first is used here. */
const LAST = '18446744073709551615'

export interface Comparison {
  /** Whether the history has this place, and no gap since. */
  readonly isPlace: boolean
  readonly head: Required<Place>
}

export class RedisFeed {
  readonly #key: string
  readonly #history: RedisHistory

  constructor(hashTag: string, history: RedisHistory) {
    this.#key = `${hashTag}:feed`
    this.#history = history
  }

  async compare(client: RedisClient, { revision, mark }: Place): Promise<Comparison> {
    const wanted = mark === undefined ? ['0', ''] : ['1', mark]
    const reply = await client.landfallPlace(...this.#history.open(), String(revision), ...wanted)
    const [isPlace, headRevision, headMark] = reply
    this.#history.see(headRevision)
    return { isPlace: isPlace === 1, head: { revision: headRevision, mark: headMark } }
  }

  async readAfter(client: RedisClient, { revision }: Place, limit: number): Promise<readonly FeedEntry[]> {
    const found = await client.xrange(this.#key, `${revision}-${LAST}`, '+', 'COUNT', limit)
    return this.#toEntries(found)
  }

  /** None when nothing has come after `blockMs`. */
  async awaitAfter(
    client: RedisClient,
    { place, limit, blockMs }: { place: Place; limit: number; blockMs: number },
  ): Promise<readonly FeedEntry[]> {
    const from = `${place.revision}-${LAST}`
    const found = await client.xread('COUNT', limit, 'BLOCK', blockMs, 'STREAMS', this.#key, from)
    return this.#toEntries(found?.[0]?.[1] ?? [])
  }

  #toEntries(found: readonly RawEntry[]): readonly FeedEntry[] {
    const entries = found.map(toFeedEntry)
    this.#history.see(entries.at(-1)?.revision ?? 0)
    return entries
  }
}
