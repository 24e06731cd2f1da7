/** The copy that a follower keeps, and how a new one is made out of a listing and the changes that come meanwhile. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Change, Page, Position, Store } from '../store/store.ts'

/**
 * The copy, kept by whoever starts a follower. All calls are synchronous. When `apply` throws, that one record is
 * refused: it is logged and counted, and the follower goes on.
 */
export interface Copy {
  /** A copy that holds something is kept when the store turns out to be another one than it came from. */
  readonly isEmpty: boolean
  /**
   * Begins a new copy beside the present one, which nobody changes until `finish`. A load may be given up: then
   * it never finishes, and `startLoad` is called again.
   */
  startLoad(): CopyLoad
  /**
   * One change of the present copy. The feed may repeat what the copy holds already: a change whose revision is
   * not above that of the key's record in the copy must do nothing.
   */
  apply(change: Change): void
}

/** A new copy in the making. */
export interface CopyLoad {
  /** A record of the listing, or a change that came meanwhile; the rule of `Copy.apply` holds. */
  apply(change: Change): void
  /** The key's record was refused: if the present copy has one, the last good one, the new copy keeps it. */
  keep(key: string): void
  /** Everything is there: the new copy takes the place of the present one. */
  finish(): void
}

/** Records between two turns of the event loop: 2 ms at most for rows of a route table. */
const SLICE = 250

interface Listing {
  readonly first: Page
  readonly prefixes: readonly string[]
  readonly limit: number
}

/**
 * All pages of all prefixes; `first` is the first one of the first prefix. The next page is on its way while one is
 * worked on. @throws Error when the store turns out to be another one meanwhile
 */
export async function* listPages(
  store: Pick<Store, 'list'>,
  { first, prefixes, limit }: Listing,
): AsyncIterable<Page> {
  for (const prefix of prefixes) {
    let next: Promise<Page> | undefined =
      prefix === prefixes[0] ? Promise.resolve(first) : store.list(prefix, { limit })
    while (next !== undefined) {
      const page: Page = await next
      if (page.storeId !== first.storeId) throw new Error('the store became another one while it was listed')
      next = page.next === undefined ? undefined : store.list(prefix, { after: page.next, limit })
      // Whoever stops reading never waits for it.
      next?.catch(() => {})
      yield page
    }
  }
}

/** Applies all, a slice in each turn of the event loop; stops when `signal` aborts. */
export async function fillLoad(
  changes: readonly Change[],
  apply: (change: Change) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let start = 0; start < changes.length && !signal.aborted; start += SLICE) {
    for (const change of changes.slice(start, start + SLICE)) apply(change)
    await nextTurn()
  }
}

/** The changes that come during a load: the newest of each key, however long it takes. */
export class Meanwhile {
  position: Position
  readonly #changes = new Map<string, Change>()

  constructor(position: Position) {
    this.position = position
  }

  add(changes: readonly Change[], position: Position): void {
    for (const change of changes) this.#changes.set(change.key, change)
    this.position = position
  }

  /** What came since the last call. */
  take(): readonly Change[] {
    const changes = [...this.#changes.values()]
    this.#changes.clear()
    return changes
  }
}
