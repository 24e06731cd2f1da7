/** The last entries of the feed in memory, a stretch without a gap. */

import type { FeedEntry } from './redis-rows.ts'

/** A place in the feed; without a mark it is any history's. */
export interface Place {
  readonly revision: number
  readonly mark?: string | undefined
}

export interface WindowLimits {
  readonly entries: number
  /** Of all values together. */
  readonly characters: number
}

export class FeedWindow {
  readonly #limits: WindowLimits
  #entries: FeedEntry[] = []
  #characters = 0
  /** What is before the first entry. */
  #start: Place
  /** The last entry, or the start while there is none. */
  #end: Place

  constructor(start: Place, limits: WindowLimits) {
    this.#start = start
    this.#end = start
    this.#limits = limits
  }

  get end(): Place {
    return this.#end
  }

  /** False, and nothing is added, when they do not go on where the window ends. */
  add(entries: readonly FeedEntry[]): boolean {
    if (!isContinuation(this.#end, entries)) return false
    for (const entry of entries) {
      this.#entries.push(entry)
      this.#characters += entry.size
    }
    this.#end = entries.at(-1) ?? this.#end
    this.#trim()
    return true
  }

  /**
   * What follows `place`, at most `limit` entries: none when it is at the end or ahead of it. `older` when it is
   * before the window, `elsewhere` when another history has this place.
   */
  after(place: Place, limit: number): readonly FeedEntry[] | 'older' | 'elsewhere' {
    if (place.revision > this.#end.revision) return []
    if (place.revision < this.#start.revision) return 'older'
    if (place.revision === this.#start.revision)
      return isSame(place, this.#start) ? this.#slice(0, limit) : 'elsewhere'
    const index = this.#indexOf(place.revision)
    const entry = this.#entries[index]
    return entry !== undefined && isSame(place, entry) ? this.#slice(index + 1, limit) : 'elsewhere'
  }

  #slice(from: number, limit: number): readonly FeedEntry[] {
    return this.#entries.slice(from, from + limit)
  }

  /** Binary search for the entry at `revision` or the first above it. */
  #indexOf(revision: number): number {
    let low = 0
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#entries[middle]?.revision ?? 0) < revision) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Down to the limits once one is passed by half: moving the array for each entry would cost more. */
  #trim(): void {
    const { entries, characters } = this.#limits
    if (this.#entries.length <= entries * 1.5 && this.#characters <= characters * 1.5) return
    let dropped = 0
    while (this.#entries.length - dropped > entries || this.#characters > characters) {
      const entry = this.#entries[dropped]
      if (entry === undefined) break
      this.#characters -= entry.size
      this.#start = entry
      dropped += 1
    }
    this.#entries = this.#entries.slice(dropped)
  }
}

/** Whether each entry names the one before it, the first of them `place`. Entries of a foreign hand name none. */
export function isContinuation(place: Place, entries: readonly FeedEntry[]): boolean {
  let last = place
  return entries.every((entry) => {
    const isNext = entry.before === undefined || isSame(last, toPlace(entry.before))
    last = entry
    return isNext
  })
}

function toPlace(text: string): Required<Place> {
  const colon = text.indexOf(':')
  return { revision: Number(text.slice(0, colon)), mark: text.slice(colon + 1) }
}

function isSame(place: Place, other: Place): boolean {
  return place.revision === other.revision && (place.mark === undefined || place.mark === other.mark)
}
