/** Grants that have run out: they count for nothing, make room for new ones, and are deleted in the end. */

import { toAudits } from '../records/audits.ts'
import type { Edit } from '../records/edits.ts'
import type { GrantRecord } from '../records/grants.ts'
import { isPast } from '../records/moments.ts'
import type { Stored } from '../records/record-kinds.ts'
import type { Store } from '../store/store.ts'
import { commitVm } from './vm-changes.ts'
import type { VmParts } from './vm-parts.ts'
import { toDeletion } from './vm-plans.ts'
import { fitsGrant, MAX_GRANTS } from './vm-size.ts'

type Grants = readonly Stored<GrantRecord>[]

export interface Room {
  readonly grants: Grants
  /** Delete the others; each gets an audit record. */
  readonly edits: readonly Edit[]
}

/** How many of them count. */
export function countLive(grants: Grants, now: Date): number {
  return grants.filter(({ record }) => !isPast(record.expiresAt, now)).length
}

/** Room for one more: the grants as they are, or without all that ran out when it would not fit otherwise. */
export function makeRoom(parts: Pick<VmParts, 'grants' | 'bindings'>, added: GrantRecord, now: Date): Room {
  const others = parts.grants.filter(({ record }) => record.id !== added.id)
  const isRoomy = others.length < MAX_GRANTS && fitsGrant({ ...parts, grants: others }, added)
  return isRoomy
    ? { grants: parts.grants, edits: [] }
    : withoutEnded(parts.grants, { until: now, kept: added.id })
}

/** The VM's grants that ran out until then are deleted together with their copies in its rows. Resolves how many. */
export async function deleteEndedGrants(
  store: Pick<Store, 'get' | 'list' | 'commit'>,
  name: string,
  { until, now }: { readonly until: Date; readonly now: Date },
): Promise<number> {
  const { plan } = await commitVm(store, {
    name,
    plan: (parts) => {
      const { grants, edits } = withoutEnded(parts.grants, { until })
      return { edits, after: { ...parts, grants } }
    },
    toExtra: ({ edits, after }) =>
      toAudits(edits, { at: now, who: 'retention', pool: after.vm?.record.pool, requestId: '' }),
  })
  return plan.edits.length
}

function withoutEnded(
  grants: Grants,
  { until, kept }: { readonly until: Date; readonly kept?: string },
): Room {
  const isEnded = ({ record: { id, expiresAt } }: Stored<GrantRecord>) =>
    id !== kept && isPast(expiresAt, until)
  return {
    grants: grants.filter((stored) => !isEnded(stored)),
    edits: grants.filter(isEnded).map(toDeletion),
  }
}
