/** When the route table's snapshot is read, written, and put aside. */

import { rename } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../lib/log.ts'
import {
  readSnapshot,
  type SnapshotHead,
  type SnapshotRow,
  type SnapshotRows,
  writeSnapshot,
} from './table-snapshot.ts'

/** What is written. */
export interface SnapshotSource {
  readonly rows: SnapshotRows
  /** Goes up with every change of a row. */
  readonly changes: number
  /** Undefined as long as nothing was loaded. */
  findHead(): SnapshotHead | undefined
}

export interface SnapshotSettings {
  readonly file: string
  /** The least time from one snapshot to the next. 30,000 by default. */
  readonly intervalMs?: number
}

const INTERVAL_MS = 30_000
/** Changes of other records move the position as well; a feed reaches back for 10,000 at least. */
const MAX_DRIFT = 5_000

/** Undefined when there is none, or none that can be used: then the reason is logged and the file put aside. */
export async function findSnapshot(
  { file, log }: { file: string; log: Log },
  addRow: (row: SnapshotRow) => void,
): Promise<SnapshotHead | undefined> {
  try {
    return await readSnapshot(file, addRow)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    const aside = `${file}.refused`
    log.error({ err: error, file, aside }, 'the snapshot of the route table is damaged and put aside')
    await rename(file, aside).catch((cause) => log.warn({ err: cause, file }, 'it cannot be renamed'))
    return undefined
  }
}

export interface KeeperDeps {
  readonly source: SnapshotSource
  readonly log: Log
  /** What the file holds already. */
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

  constructor({ source, log, saved }: KeeperDeps, settings: SnapshotSettings) {
    this.#source = source
    this.#log = log
    this.#settings = { intervalMs: INTERVAL_MS, ...settings }
    this.#savedChanges = saved === undefined ? -1 : source.changes
    this.#savedRevision = saved?.position.revision ?? 0
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(this.#settings.intervalMs, undefined, { signal }).catch(() => {})
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
    } catch (error) {
      this.#log.error(
        { err: error, file: this.#settings.file },
        'the snapshot of the route table is not written',
      )
    }
  }

  #isDue(): boolean {
    if (this.#source.changes !== this.#savedChanges) return true
    const revision = this.#source.findHead()?.position.revision ?? 0
    return Math.abs(revision - this.#savedRevision) >= MAX_DRIFT
  }
}
