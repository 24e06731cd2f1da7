/** How large a VM may be: each of its rows carries its grants, and one change may write all of its rows. */

import { RecordInvalid } from '../errors.ts'
import type { GrantRecord } from '../records/grants.ts'
import { SSH_PORT, type VmParts } from './vm-parts.ts'

/** Of one row, and so of one entry of the feed, and of what each edge parses for one host name. */
export const MAX_ROW_BYTES = 16_384
/** Of all rows of a VM together: what one commit writes, and one script of Redis takes at once. */
export const MAX_ROWS_BYTES = 1_048_576

/** Of a VM, tokens and share links among them: each of its rows carries those that count for its port. */
export const MAX_GRANTS = 100

/** A row without its grants: two names, a pool, a host name and an address are less. */
const BASE_BYTES = 1_024
/** A grant in a row without its id and its value: `{"id":"","to":{"kind":"domain","value":""},…}` and a moment. */
const GRANT_BYTES = 128

type Sized = Pick<VmParts, 'grants' | 'bindings'>

interface Size {
  readonly largestRow: number
  readonly allRows: number
}

/**
 * Refuses a change by which rows become too large; one that leaves them as large as they are, or makes them smaller,
 * never is. `field` is what problems name. @throws RecordInvalid
 */
export function checkSize(before: Sized, after: Sized, field: string): void {
  if (before.grants === after.grants && before.bindings === after.bindings) return
  const was = sizeOf(before)
  const is = sizeOf(after)
  if (is.largestRow > MAX_ROW_BYTES && is.largestRow > was.largestRow) {
    throw new RecordInvalid(
      field,
      `The VM's grants would take ${is.largestRow} bytes for one host name; they may take ${MAX_ROW_BYTES}. Take grants back, or give them fewer ports.`,
    )
  }
  if (is.allRows <= MAX_ROWS_BYTES || is.allRows <= was.allRows) return
  throw new RecordInvalid(
    field,
    `The VM's grants would take ${is.allRows} bytes for its ${after.bindings.length} host names; they may take ${MAX_ROWS_BYTES}. Take grants or host names back, or give grants fewer ports.`,
  )
}

/** Whether the VM's rows have room for one more. */
export function fitsGrant({ grants, bindings }: Sized, record: GrantRecord): boolean {
  const added = { key: '', record, revision: 0 }
  const { largestRow, allRows } = sizeOf({ grants: [...grants, added], bindings })
  return largestRow <= MAX_ROW_BYTES && allRows <= MAX_ROWS_BYTES
}

/**
 * What the rows can come to without another change of grants or host names: the default port may become any, and
 * reports, visibility, roles and moments count as if they were at their longest, so that none of these can be refused.
 */
function sizeOf({ grants, bindings }: Sized): Size {
  const ofPort = new Map<number, number>()
  let ofDefault = 0
  let ofAll = 0
  for (const { record } of grants) {
    // No row carries it.
    if (record.to.kind === 'vm') continue
    const bytes = bytesOf(record)
    ofAll += bytes
    if (record.ports === undefined) ofDefault += bytes
    // Any may become `root`, which counts for SSH too.
    const ports = record.ports === undefined ? [] : new Set([...record.ports, SSH_PORT])
    for (const port of ports) ofPort.set(port, (ofPort.get(port) ?? 0) + bytes)
  }
  const rows = bindings.map(({ record: { port } }) =>
    port === undefined ? ofAll : ofDefault + (ofPort.get(port) ?? 0),
  )
  return {
    largestRow: BASE_BYTES + Math.max(0, ...rows),
    allRows: rows.reduce((sum, bytes) => sum + BASE_BYTES + bytes, 0),
  }
}

function bytesOf({ id, to: { value } }: GrantRecord): number {
  return GRANT_BYTES + id.length + Buffer.byteLength(JSON.stringify(value))
}
