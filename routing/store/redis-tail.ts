/** Waits for changes on a connection of its own, once for all watchers of this process. */

import { setTimeout as sleep } from 'node:timers/promises'
import { Bell } from './bell.ts'
import type { RedisClient } from './redis-clients.ts'
import type { RedisConnection } from './redis-connection.ts'
import type { RedisFeed } from './redis-feed.ts'
import type { FeedEntry } from './redis-rows.ts'
import { FeedWindow, type Place } from './redis-window.ts'

/** How long Redis holds an answer back while nothing changes; then the histories are compared. */
const MAX_BLOCK_MS = 1_000
/** Changes within this time are read together: an answer costs Redis and this process the same, however much is in it. */
const GATHER_MS = 2
const READ_LIMIT = 1_000
const WINDOW_ENTRIES = 1_024
const WINDOW_CHARACTERS = 8 * 1_024 * 1_024

export type SessionEnd =
  | { readonly kind: 'resync' | 'closed' }
  | { readonly kind: 'failed'; readonly error: unknown }

/** What one connection has told, until it is lost, its history turns out to be another, or nobody watches. */
export class TailSession {
  /** Rings when there is something new and when the end has come. */
  readonly bell = new Bell()
  watchers = 0
  #end: SessionEnd | undefined
  #window: FeedWindow | undefined

  get end(): SessionEnd | undefined {
    return this.#end
  }

  /** As `FeedWindow.after`. */
  after(place: Place, limit: number): readonly FeedEntry[] | 'older' | 'elsewhere' {
    return this.#window?.after(place, limit) ?? []
  }

  begin(window: FeedWindow): void {
    this.#window = window
    this.bell.ring()
  }

  finish(end: SessionEnd): void {
    this.#end ??= end
    this.bell.ring()
  }
}

export interface TailSettings {
  readonly connection: RedisConnection<RedisClient>
  readonly feed: RedisFeed
  readonly feedLimit: number
  readonly timeoutMs: number
}

export class RedisTail implements AsyncDisposable {
  readonly #settings: TailSettings
  readonly #closing = new AbortController()
  #session: TailSession | undefined
  #loop: Promise<void> = Promise.resolve()

  constructor(settings: TailSettings) {
    this.#settings = settings
  }

  /** The caller is one of its watchers until it takes itself off. */
  join(): TailSession {
    const last = this.#session
    const session = last === undefined || last.end !== undefined ? this.#start() : last
    session.watchers += 1
    return session
  }

  /** Ends the session as closed; resolves once its connection, which has another owner, is closed too. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    this.#session?.finish({ kind: 'closed' })
    await this.#loop
  }

  #start(): TailSession {
    const session = new TailSession()
    this.#session = session
    this.#loop = this.#follow(session).catch((error) => {
      session.finish(this.#closing.signal.aborted ? { kind: 'closed' } : { kind: 'failed', error })
    })
    return session
  }

  async #follow(session: TailSession): Promise<void> {
    const { connection, feed, feedLimit } = this.#settings
    const { head } = await connection.run((client) => feed.compare(client, { revision: 0 }))
    const limits = { entries: Math.min(WINDOW_ENTRIES, feedLimit), characters: WINDOW_CHARACTERS }
    const window = new FeedWindow(head, limits)
    session.begin(window)
    while (session.watchers > 0 && !this.#closing.signal.aborted) {
      if (!(await this.#extend(window))) return session.finish({ kind: 'resync' })
      session.bell.ring()
    }
    // Whoever comes next starts another session.
    session.finish({ kind: 'closed' })
  }

  /** Adds what Redis has, or waits for it. False when its history is not the window's. */
  async #extend(window: FeedWindow): Promise<boolean> {
    const { connection, feed, timeoutMs } = this.#settings
    // Half of the time limit is left for the answer itself.
    const blockMs = Math.min(MAX_BLOCK_MS, Math.ceil(timeoutMs / 2))
    const entries = await connection.run((client) =>
      feed.awaitAfter(client, { place: window.end, limit: READ_LIMIT, blockMs }),
    )
    if (entries.length === 0) {
      // A stream that was deleted and begun anew is silent as well.
      const { isPlace } = await connection.run((client) => feed.compare(client, window.end))
      return isPlace
    }
    if (!window.add(entries)) return false
    if (entries.length < READ_LIMIT) await sleep(GATHER_MS, undefined, { signal: this.#closing.signal })
    return true
  }
}
