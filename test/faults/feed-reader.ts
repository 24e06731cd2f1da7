/** A reader of the feed that does what docs/wire.md asks of one, and keeps all that it is told. */

import { setTimeout as pace } from 'node:timers/promises'
import type { Change, Position, Store } from '../../routing/store/store.ts'

const RETRY_MS = 50

export interface FeedReader {
  readonly changes: readonly Change[]
  /** How often it had to list again. */
  readonly resyncs: () => number
  /** How often the feed was lost. */
  readonly losses: () => number
  readonly position: () => Position
  /** Revisions that were told after a higher one, from the feed or a listing. */
  readonly falls: readonly number[]
  readonly stop: () => Promise<void>
}

/** Reads what comes after now. */
export async function startFeedReader(store: Pick<Store, 'list' | 'watch'>): Promise<FeedReader> {
  const stopping = new AbortController()
  const { signal } = stopping
  const changes: Change[] = []
  const counts = { resyncs: 0, losses: 0 }
  const falls: number[] = []
  let position: Position = await store.list('', { limit: 1 })
  const moveTo = (next: Position) => {
    if (next.revision < position.revision) falls.push(next.revision)
    position = next
  }
  const follow = async () => {
    for await (const event of store.watch(position.revision, signal, position.mark)) {
      if (event.kind === 'resync') {
        counts.resyncs += 1
        moveTo(await store.list('', { limit: 1 }))
        return
      }
      changes.push(...event.changes)
      moveTo(event.position)
    }
  }
  const run = async () => {
    while (!signal.aborted) {
      await follow().catch(async () => {
        counts.losses += 1
        await pace(RETRY_MS, undefined, { signal }).catch(() => {})
      })
    }
  }
  const running = run()
  return {
    changes,
    resyncs: () => counts.resyncs,
    losses: () => counts.losses,
    position: () => position,
    falls,
    stop: async () => {
      stopping.abort()
      await running
    },
  }
}
