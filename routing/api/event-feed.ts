/** Follows the store for one reader of events, through gaps in the feed and the loss of the store. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../lib/log.ts'
import { RoutingError } from '../errors.ts'
import { POOLS } from '../records/record-kinds.ts'
import type { Change, Position, Store } from '../store/store.ts'
import { type EventScope, loadScope, type Reader } from './event-scope.ts'
import {
  findRecordChange,
  toComment,
  toEventText,
  toIdText,
  toResyncText,
  toVanishedText,
} from './event-text.ts'

export interface EventFeedDeps {
  readonly store: Pick<Store, 'list' | 'watch'>
  readonly log: Log
}

/** A client's place has no mark: it is only a number that it sent. */
type Place = Omit<Position, 'mark'> & { readonly mark?: string }

/** Events are put together to pieces of about this size. */
const PIECE_CHARACTERS = 16_384
const MIN_RETRY_MS = 100
const MAX_RETRY_MS = 2_000

/**
 * Where the reader begins: behind `after`, or now. A number that the store has not reached is from another history.
 * @throws RoutingError of the store
 */
export async function openEventFeed(
  deps: EventFeedDeps,
  reader: Reader,
  after: number | undefined,
): Promise<EventFeed> {
  const { revision, mark } = await deps.store.list(POOLS.prefix, { limit: 1 })
  const scope = await loadScope(deps.store, reader)
  const present = { revision, mark }
  // SAFETY: a client's number never comes with a mark, and never above what the store has itself.
  const place = after === undefined || after > revision ? present : { revision: after }
  return new EventFeed(deps, { reader, scope, place, isResync: after !== undefined && after > revision })
}

interface FeedState {
  readonly reader: Reader
  scope: EventScope
  place: Place
  /** The reader has to be told that it may have missed something. */
  isResync: boolean
}

export class EventFeed {
  readonly #deps: EventFeedDeps
  readonly #state: FeedState
  #failures = 0
  #isAway = false

  constructor(deps: EventFeedDeps, state: FeedState) {
    this.#deps = deps
    this.#state = state
  }

  /** Everything up to here has been taken by the reader, or was not for it. */
  get revision(): number {
    return this.#state.place.revision
  }

  /**
   * Text to be sent as it is, until `signal` aborts or the store is closed. Nothing is read from the store before the
   * reader asks for the next piece.
   */
  async *read(signal: AbortSignal): AsyncGenerator<string, void> {
    yield this.#state.isResync ? toResyncText(this.revision) : toIdText(this.revision)
    while (!signal.aborted) {
      try {
        yield* this.#follow(signal)
        if (!signal.aborted) yield await this.#resync(signal)
      } catch (error) {
        if (isClosed(error)) return
        yield this.#noteLoss(error)
        await this.#pause(signal)
      }
    }
  }

  /** A comment, the first time. */
  #noteLoss(error: unknown): string {
    if (this.#isAway) return ''
    this.#isAway = true
    this.#deps.log.debug({ err: error }, 'a reader of events waits for the store')
    return toComment('the store is away; events go on when it is back')
  }

  /** Ends where the reader has to list again, or when `signal` aborts. */
  async *#follow(signal: AbortSignal): AsyncGenerator<string, void> {
    const { place } = this.#state
    for await (const event of this.#deps.store.watch(place.revision, signal, place.mark)) {
      if (event.kind === 'resync' || !(yield* this.#tell(event.changes))) return
      this.#state.place = event.position
      this.#failures = 0
      this.#isAway = false
    }
  }

  /** False where the reader has to list again. */
  *#tell(changes: readonly Change[]): Generator<string, boolean> {
    let piece = ''
    for (const change of changes) {
      const text = this.#findText(change)
      if (text === undefined) return false
      piece += text
      if (piece.length < PIECE_CHARACTERS) continue
      yield piece
      piece = ''
    }
    if (piece !== '') yield piece
    return true
  }

  /** Empty for what the reader is not told; undefined when it has to list again. */
  #findText(change: Change): string | undefined {
    const { scope } = this.#state
    const told = findRecordChange(change)
    if (told === undefined) return scope.mustResync(change) ? undefined : ''
    switch (scope.judge(told)) {
      case 'show':
        return toEventText(told)
      case 'vanished':
        return toVanishedText(told)
      case 'unclear':
        return undefined
      case 'hide':
        return ''
    }
  }

  /** Goes on from now. @throws RoutingError of the store */
  async #resync(signal: AbortSignal): Promise<string> {
    // A store that says nothing else must not be asked without end.
    if (this.#failures > 0) await this.#pause(signal)
    this.#failures += 1
    const { store } = this.#deps
    const { revision, mark } = await store.list(POOLS.prefix, { limit: 1 })
    this.#state.scope = await loadScope(store, this.#state.reader)
    this.#state.place = { revision, mark }
    return toResyncText(revision)
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const ms = Math.min(MAX_RETRY_MS, MIN_RETRY_MS * 2 ** this.#failures)
    this.#failures += 1
    await sleep(ms, undefined, { signal }).catch(() => {})
  }
}

function isClosed(error: unknown): boolean {
  return error instanceof RoutingError && error.code === 'store_closed'
}
