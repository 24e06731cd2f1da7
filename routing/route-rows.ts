/** The rows of the route table: what one record or one change makes of them. */

import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../lib/log.ts'
import { RecordInvalid } from './errors.ts'
import { parseRouteRecord, ROUTE_PREFIX, type RouteRecord } from './records.ts'
import type { Change, StoredDocument } from './store.ts'

export interface Row {
  readonly route: RouteRecord
  readonly revision: number
}

/** By host name. */
export type Rows = Map<string, Row>

export interface RowReader {
  /** The rows before the record; a record that did not change keeps its row's object. */
  readonly before: Rows
  readonly log: Log
}

/** The record's row. A record that breaks a rule is logged, and the row before it stays (if there was one). */
export function findRow(document: StoredDocument, { before, log }: RowReader): Row | undefined {
  const previous = before.get(toHostnameOf(document.key))
  const { revision } = document
  if (previous?.revision === revision) return previous
  try {
    const route = parseRouteRecord(document.value, document.key)
    const isSame = isDeepStrictEqual(previous?.route, route)
    return { route: isSame && previous ? previous.route : route, revision }
  } catch (error) {
    if (!(error instanceof RecordInvalid)) throw error
    log.error({ err: error, key: document.key, revision, field: error.field }, 'a route record is refused')
    return previous
  }
}

export function applyChange(rows: Rows, { key, value, revision }: Change, log: Log): void {
  if (!key.startsWith(ROUTE_PREFIX)) return
  const hostname = toHostnameOf(key)
  // The feed may repeat what the listing held already.
  if (revision <= (rows.get(hostname)?.revision ?? 0)) return
  const row = value && findRow({ key, value, revision }, { before: rows, log })
  if (row) rows.set(hostname, row)
  else rows.delete(hostname)
}

export function toHostnameOf(key: string): string {
  return key.slice(ROUTE_PREFIX.length)
}
