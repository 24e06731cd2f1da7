/** The rows of routes as a snapshot holds them. */

import type { PackedRows } from './packed-rows.ts'
import { ROW_FIELDS } from './row-json.ts'
import type { PackedRow } from './row-slabs.ts'
import type { SnapshotForm, SnapshotRow, SnapshotRows } from './table-snapshot.ts'

/** A row's name is the host name. */
export const ROUTE_FORM: SnapshotForm = { format: 'landfall-table/1', fields: ROW_FIELDS }

export function toSnapshotRows(rows: Pick<PackedRows, 'pieces' | 'rebuilds'>): SnapshotRows {
  return {
    form: ROUTE_FORM,
    get rebuilds() {
      return rows.rebuilds
    },
    *pieces() {
      for (const piece of rows.pieces()) yield toRows(piece)
    },
  }
}

function* toRows(piece: Iterable<PackedRow>): Generator<SnapshotRow> {
  for (const { revision, hostname, json } of piece) yield { revision, name: hostname, json }
}
