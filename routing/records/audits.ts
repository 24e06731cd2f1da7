/** What is written down of a change: an audit record for each document, in the same commit. */

import type { Document, Mutation } from '../store/store.ts'
import { createAuditId } from './audit-id.ts'
import { type Edit, isVoid } from './edits.ts'

/** Fields that an audit record does not repeat. */
const HIDDEN = ['digest', 'sealedKey']

export interface AuditNote {
  readonly at: Date
  /** A token's id, or `link:<id>`. */
  readonly who: string
  readonly pool: string | undefined
  /** '' for what no request of the API asked for. */
  readonly requestId: string
}

/** An audit record for each edit that changes something and does not merely follow from another. */
export function toAudits(
  edits: readonly Edit[],
  { at, who, pool, requestId }: AuditNote,
): readonly Mutation[] {
  return edits
    .filter((edit) => !edit.isDerived && !isVoid(edit))
    .map(({ key, before, after, isOfNoPool }) => {
      const id = createAuditId(at)
      const value = {
        id,
        at: at.toISOString(),
        who,
        action: after === undefined ? 'delete' : before === undefined ? 'create' : 'update',
        key,
        ...(pool !== undefined && !isOfNoPool && { pool }),
        ...(before && { before: shown(before.value) }),
        ...(after && { after: shown(after) }),
        requestId,
      }
      return { key: `audit/${id}`, value, ifRevision: 0 }
    })
}

function shown(value: Document): Document {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !HIDDEN.includes(name)))
}
