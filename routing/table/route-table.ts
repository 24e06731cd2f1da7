/** The routes in memory: the hot path reads them synchronously, the store's feed keeps them fresh. */

import type { Log } from '../../lib/log.ts'
import { type Follower, startFollower } from '../feed/feed-follower.ts'
import type { FollowerSettings } from '../feed/follower-settings.ts'
import { type Refusal, RefusalBook } from '../feed/refusal-book.ts'
import { ROUTES } from '../records/record-kinds.ts'
import type { RouteRecord } from '../records/records.ts'
import type { Store } from '../store/store.ts'
import { ROUTE_FORM, toSnapshotRows } from './route-snapshot.ts'
import {
  findHeadOf,
  findSnapshot,
  type SnapshotSettings,
  startSnapshotKeeper,
  toOrigin,
} from './snapshot-keeper.ts'
import { TableCopy } from './table-copy.ts'

export type Route = RouteRecord

export interface RouteTable {
  /** The row of a canonical host name: frozen, and the same object until its record changes or it was long unused. */
  find(hostname: string): Route | undefined
  /** Calls `ring` whenever that row may have changed, in the turn of the change. Returns what ends it. */
  onRow(hostname: string, ring: () => void): () => void
  /** As `onRow` for every row; without a name any of them may have changed. */
  onAnyRow(ring: (hostname: string | undefined) => void): () => void
  readonly size: number
  /** The store's revision up to which the table is complete; it goes back only with another store. */
  readonly revision: number
  /** True once the table was loaded, from the store or a snapshot; it stays true when the store is gone. */
  readonly ready: boolean
  /** For how long the table has not been known to be fresh; 0 while it is, Infinity before the first load. */
  ageMs(): number
  /** For how long the store has not answered, whatever the age: 0 while it does, Infinity before it first did. */
  awayMs(): number
  status(): TableStatus
}

export interface TableStatus {
  /** Of the rows: `snapshot` until the store has confirmed them or given others. */
  readonly source: 'store' | 'snapshot'
  /** Of the store that the rows came from; '' before the first load and for a store that was never written to. */
  readonly storeId: string
  readonly revision: number
  readonly rows: number
  /** Records that were refused since the start; one that is read again counts again. */
  readonly refused: { readonly count: number; readonly last: Refusal | undefined }
  /** True while the store lost its data or is another one, and no operator has said that this is meant. */
  readonly held: boolean
}

export interface RouteTableDeps {
  readonly store: Pick<Store, 'get' | 'list' | 'watch'>
  readonly log: Log
}

export interface RouteTableSettings
  extends Pick<FollowerSettings, 'minRetryMs' | 'maxRetryMs' | 'probeMs' | 'now'> {
  /** Where the rows are kept for a start without the store; nowhere by default. */
  readonly snapshot?: SnapshotSettings
  /** The longest wait for the store at a start with a snapshot. 5,000 by default. */
  readonly startLimitMs?: number
}

const WHAT = 'the route table'
const START_LIMIT_MS = 5_000

/**
 * Resolves after the first attempt to load. When the store is out of reach, the table serves its snapshot; without one
 * it is empty and not `ready`, and loads as soon as the store is back.
 */
export async function startRouteTable(
  { store, log }: RouteTableDeps,
  settings: RouteTableSettings = {},
): Promise<RouteTable & AsyncDisposable> {
  const { snapshot, startLimitMs = START_LIMIT_MS, ...rest } = settings
  await using started = new AsyncDisposableStack()
  const restored = new RefusalBook(log, `the snapshot of ${WHAT}`)
  const { copy, head } = await restoreCopy({ file: snapshot?.file, log, refusals: restored })
  started.use(copy)
  const from = head && toOrigin(head)
  const follower = await startFollower(
    { store, log, copy },
    { ...rest, prefixes: [ROUTES.prefix], what: WHAT, ...(from && { from, startLimitMs }) },
  )
  if (snapshot !== undefined) {
    const source = createSource(copy, follower)
    started.use(startSnapshotKeeper({ source, log, saved: head }, snapshot))
  }
  // Ended first: the last snapshot then is of rows that nothing changes any more.
  started.use(follower)
  return new FollowedTable({ copy, follower, restored }, started.move())
}

interface Restoring {
  readonly file: string | undefined
  readonly log: Log
  readonly refusals: RefusalBook
}

/** The copy with the rows of the snapshot, if there is a sound one. */
async function restoreCopy({ file, log, refusals }: Restoring) {
  if (file === undefined) return { copy: new TableCopy(), head: undefined }
  const copy = new TableCopy()
  const head = await findSnapshot({ file, form: ROUTE_FORM, what: WHAT, log }, (row) => {
    try {
      copy.restore(row)
    } catch (error) {
      refusals.add({ key: ROUTES.prefix + row.name, revision: row.revision }, error)
    }
  })
  return head === undefined ? { copy: new TableCopy(), head } : { copy, head }
}

function createSource(copy: TableCopy, follower: Follower) {
  return {
    what: WHAT,
    rows: toSnapshotRows(copy.rows),
    get changes() {
      return copy.changes
    },
    findHead: () => findHeadOf(follower),
  }
}

interface TableParts {
  readonly copy: TableCopy
  readonly follower: Follower
  readonly restored: RefusalBook
}

class FollowedTable implements RouteTable, AsyncDisposable {
  readonly #copy: TableCopy
  readonly #follower: Follower
  readonly #restored: RefusalBook
  readonly #running: AsyncDisposableStack
  /** The highest revision that was shown, and of which store. */
  #shown = { storeId: '', revision: 0 }

  constructor({ copy, follower, restored }: TableParts, running: AsyncDisposableStack) {
    this.#copy = copy
    this.#follower = follower
    this.#restored = restored
    this.#running = running
  }

  find(hostname: string): Route | undefined {
    return this.#copy.rows.find(hostname)
  }

  onRow(hostname: string, ring: () => void): () => void {
    return this.#copy.bell.onRow(hostname, ring)
  }

  onAnyRow(ring: (hostname: string | undefined) => void): () => void {
    return this.#copy.bell.onAnyRow(ring)
  }

  get size(): number {
    return this.#copy.rows.size
  }

  get revision(): number {
    const { storeId = '', position } = this.#follower
    const revision = position?.revision ?? 0
    const isForward = storeId !== this.#shown.storeId || revision > this.#shown.revision
    if (isForward) this.#shown = { storeId, revision }
    return this.#shown.revision
  }

  get ready(): boolean {
    return this.#follower.position !== undefined
  }

  ageMs(): number {
    return this.#follower.ageMs()
  }

  awayMs(): number {
    return this.#follower.awayMs()
  }

  status(): TableStatus {
    const { storeId = '', isConfirmed, isHeld, refusals } = this.#follower
    return {
      source: isConfirmed || !this.ready ? 'store' : 'snapshot',
      storeId,
      revision: this.revision,
      rows: this.size,
      refused: {
        count: this.#restored.count + refusals.count,
        last: refusals.last ?? this.#restored.last,
      },
      held: isHeld,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.disposeAsync()
  }
}
