/** When a table's snapshot is read, written, and put aside. */

import { rename, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../lib/log.ts'
import type { Follower } from '../feed/feed-follower.ts'
import type { Origin } from '../feed/follower-settings.ts'
import {
  type ReadRow,
  readSnapshot,
  type SnapshotForm,
  type SnapshotHead,
  type SnapshotRows,
  writeSnapshot,
} from './table-snapshot.ts'

/** What is written. */
export interface SnapshotSource {
  /** In words, for the log: "the route table". */
  readonly what: string
  readonly rows: SnapshotRows
  /** Goes up with every change of a row. */
  readonly changes: number
  /** Undefined as long as nothing was loaded. */
  findHead(): SnapshotHead | undefined
}

export interface SnapshotSettings {
  readonly file: string
  /** The least time from one snapshot to the next. 30,000 by default; large tables take longer. */
  readonly intervalMs?: number
}

const INTERVAL_MS = 30_000
/** On average: 130 MB (100,000 certificates) every 130 s, which a disk bears for years. */
const MAX_BYTES_PER_MS = 1_000
/** Changes of other records move the position as well; a feed reaches back for 10,000 at least. */
const MAX_DRIFT = 5_000

/** Undefined when there is none, or none that can be used: then the reason is logged and the file put aside. */
export async function findSnapshot(
  { file, form, what, log }: Pick<SnapshotSource, 'what'> & { file: string; form: SnapshotForm; log: Log },
  addRow: (row: ReadRow) => void,
): Promise<SnapshotHead | undefined> {
  try {
    return await readSnapshot({ file, format: form.format }, addRow)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    const aside = `${file}.refused`
    log.error({ err: error, file, aside }, `the snapshot of ${what} is damaged and put aside`)
    await rename(file, aside).catch((cause) => log.warn({ err: cause, file }, 'it cannot be renamed'))
    return undefined
  }
}

/** Where a follower goes on whose copy holds what a snapshot had. */
export function toOrigin(head: SnapshotHead): Origin {
  return { ...head, ageMs: Math.max(0, Date.now() - head.freshAt) }
}

/** Undefined until the store has confirmed the copy: a snapshot of a snapshot would say nothing new. */
export function findHeadOf(follower: Follower): SnapshotHead | undefined {
  const { storeId, position, isConfirmed } = follower
  if (storeId === undefined || position === undefined || !isConfirmed) return undefined
  return { storeId, position, freshAt: Date.now() - follower.ageMs() }
}

export interface KeeperDeps {
  readonly source: SnapshotSource
  readonly log: Log
  /** What the file holds already: the source counts its changes from there on. */
  readonly saved: SnapshotHead | undefined
}

/** Writes a snapshot when something changed, and a last one when it is disposed. */
export function startSnapshotKeeper(deps: KeeperDeps, settings: SnapshotSettings): AsyncDisposable {
  const keeper = new SnapshotKeeper(deps, settings)
  const stop = new AbortController()
  const running = keeper.run(stop.signal)
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await running
      await keeper.save(new AbortController().signal)
    },
  }
}

class SnapshotKeeper {
  readonly #source: SnapshotSource
  readonly #log: Log
  readonly #settings: Required<SnapshotSettings>
  #savedChanges: number
  #savedRevision: number
  #savedBytes = 0

  constructor({ source, log, saved }: KeeperDeps, settings: SnapshotSettings) {
    this.#source = source
    this.#log = log
    this.#settings = { intervalMs: INTERVAL_MS, ...settings }
    this.#savedChanges = saved === undefined ? -1 : 0
    this.#savedRevision = saved?.position.revision ?? 0
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(this.#pauseMs, undefined, { signal }).catch(() => {})
      if (!signal.aborted && this.#isDue()) await this.save(signal)
    }
  }

  /** What fails is logged: the file from before is still there. */
  async save(signal: AbortSignal): Promise<void> {
    const { rows, changes } = this.#source
    const head = this.#source.findHead()
    if (head === undefined) return
    try {
      if (!(await writeSnapshot(this.#settings.file, { head, rows, signal }))) return
      this.#savedChanges = changes
      this.#savedRevision = head.position.revision
      this.#savedBytes = (await stat(this.#settings.file)).size
    } catch (error) {
      const message = `the snapshot of ${this.#source.what} is not written`
      this.#log.error({ err: error, file: this.#settings.file }, message)
    }
  }

  get #pauseMs(): number {
    return Math.max(this.#settings.intervalMs, this.#savedBytes / MAX_BYTES_PER_MS)
  }

  #isDue(): boolean {
    if (this.#source.changes !== this.#savedChanges) return true
    const revision = this.#source.findHead()?.position.revision ?? 0
    return Math.abs(revision - this.#savedRevision) >= MAX_DRIFT
  }
}
