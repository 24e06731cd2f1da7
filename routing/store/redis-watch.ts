/** One watcher of the feed: from memory where that reaches back far enough, else from Redis. */

import type { RedisClient } from './redis-clients.ts'
import type { RedisFeed } from './redis-feed.ts'
import type { FeedEntry } from './redis-rows.ts'
import type { RedisTail, TailSession } from './redis-tail.ts'
import { isContinuation, type Place } from './redis-window.ts'
import type { FeedEvent } from './store.ts'

/** Parsing 256 small documents takes about a millisecond. */
const WATCH_BATCH = 256

export interface WatchDeps {
  readonly tail: RedisTail
  readonly feed: RedisFeed
  readonly run: <Result>(command: (client: RedisClient) => Promise<Result>) => Promise<Result>
}

/** Ends when `signal` aborts or the store is closed. @throws RoutingError store_unreachable, store_refused */
export async function* watchFeed(
  { tail, feed, run }: WatchDeps,
  start: Place,
  signal: AbortSignal,
): AsyncGenerator<FeedEvent, void> {
  const session = tail.join()
  try {
    const { isPlace } = await run((client) => feed.compare(client, start))
    if (isPlace) yield* follow({ session, feed, run }, start, signal)
    else if (!signal.aborted) yield { kind: 'resync' }
  } finally {
    session.watchers -= 1
  }
}

interface FollowDeps extends Omit<WatchDeps, 'tail'> {
  readonly session: TailSession
}

async function* follow(
  { session, feed, run }: FollowDeps,
  start: Place,
  signal: AbortSignal,
): AsyncGenerator<FeedEvent, void> {
  let place = start
  for (;;) {
    const entries = await findNext({ session, feed, run }, place)
    if (signal.aborted || session.end?.kind === 'closed') return
    if (entries === 'elsewhere') {
      yield { kind: 'resync' }
      return
    }
    const last = entries.at(-1)
    if (last === undefined) {
      await session.bell.wait(signal)
      continue
    }
    place = last
    yield toEvent(entries, last)
  }
}

/** None for now, or `elsewhere` when what comes next does not follow `place`. */
async function findNext(
  { session, feed, run }: FollowDeps,
  place: Place,
): Promise<readonly FeedEntry[] | 'elsewhere'> {
  if (session.end?.kind === 'failed') throw session.end.error
  if (session.end !== undefined) return 'elsewhere'
  const known = session.after(place, WATCH_BATCH)
  if (known !== 'older') return known
  const read = await run((client) => feed.readAfter(client, place, WATCH_BATCH))
  return isContinuation(place, read) ? read : 'elsewhere'
}

/** Entries without a change only take the watcher along: there may be no other. */
function toEvent(entries: readonly FeedEntry[], { revision, mark }: FeedEntry): FeedEvent {
  const changes = entries.flatMap(({ change }) => change ?? [])
  return { kind: 'changes', changes, position: { revision, mark } }
}
