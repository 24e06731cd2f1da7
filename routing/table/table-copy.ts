/** The route table's rows as a copy that a feed follower keeps. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Copy, CopyLoad } from '../feed/feed-load.ts'
import { ROUTES } from '../records/record-kinds.ts'
import type { Change } from '../store/store.ts'
import { PackedRows } from './packed-rows.ts'
import { RowBell } from './row-bell.ts'
import { parseRowJson } from './row-json.ts'
import type { RowsRebuild } from './rows-rebuild.ts'
import type { ReadRow } from './table-snapshot.ts'

export class TableCopy implements Copy, AsyncDisposable {
  readonly rows = new PackedRows()
  readonly bell = new RowBell()
  #changes = 0
  #isDisposed = false
  #tidying: Promise<void> = Promise.resolve()

  /** Goes up with every change of a row. */
  get changes(): number {
    return this.#changes
  }

  get isEmpty(): boolean {
    return this.rows.size === 0
  }

  /** @throws RecordInvalid, RangeError */
  apply(change: Change): void {
    this.#changes += 1
    applyTo(this.rows, change)
    if (this.bell.isAwaited) this.bell.ring(toHostname(change.key))
  }

  startLoad(): CopyLoad {
    const rebuild = this.rows.startRebuild()
    return {
      apply: (change) => applyTo(rebuild, change),
      keep: (key) => rebuild.keep(toHostname(key)),
      finish: () => {
        rebuild.finish()
        this.#changes += 1
        this.bell.ringAll()
        this.#tidying = this.#tidying.then(() => this.#tidy())
      },
    }
  }

  /** A row of a snapshot. @throws RecordInvalid, RangeError, SyntaxError */
  restore({ revision, name, json, fields }: ReadRow): void {
    if (!Number.isSafeInteger(revision)) throw new RangeError('its revision is no number')
    const value = { ...parseRowJson(json, fields), hostname: name }
    this.rows.set(ROUTES.parse(value), revision)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true
    await this.#tidying
  }

  /** Gives up what the rows before a load have left, a slab in each turn of the event loop. */
  async #tidy(): Promise<void> {
    while (!this.#isDisposed && this.rows.tidy()) await nextTurn()
  }
}

function applyTo(rows: Pick<RowsRebuild, 'set' | 'delete'>, { key, value, revision }: Change): void {
  if (value === undefined) rows.delete(toHostname(key), revision)
  else rows.set(ROUTES.parse(value, key), revision)
}

function toHostname(key: string): string {
  return key.slice(ROUTES.prefix.length)
}
