/** Edits: what one change makes of each document it touches, so that it can be committed, retried and audited. */

import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { RevisionConflict } from '../errors.ts'
import type { Document, Mutation, Store, StoredDocument } from '../store/store.ts'
import type { Stored } from './record-kinds.ts'

export interface Edit {
  readonly key: string
  /** What was read; undefined when there was nothing. The edit fails when it is no longer so. */
  readonly before: Pick<StoredDocument, 'value' | 'revision'> | undefined
  /** Undefined to delete. */
  readonly after: Document | undefined
  /** Follows from other edits of the same change, and needs no audit record of its own. */
  readonly isDerived?: true
  /** Concerns several pools: its audit record is shown to the owner of none. */
  readonly isOfNoPool?: true
}

/** Each lost attempt means that another writer succeeded. */
const MAX_ATTEMPTS = 100
/** Few writers meet by chance, and one of them wins at once; many have to be spread. */
const HASTY_ATTEMPTS = 3
const MAX_PAUSE_MS = 64

/** The edit that makes a record what it shall be; without `after` it deletes it. */
export function toEdit<Value extends object>(
  key: string,
  { before, after }: { readonly before: Stored<Value> | undefined; readonly after: Value | undefined },
): Edit {
  return {
    key,
    before: before && { value: { ...before.record } as Document, revision: before.revision },
    after: after && ({ ...after } as Document),
  }
}

/** True when the edit would leave the document as it is. */
export function isVoid({ before, after }: Edit): boolean {
  return isDeepStrictEqual(before?.value, after)
}

/** An edit that changes nothing pins what was read, except where it merely follows from others. */
export function toMutations(edits: readonly Edit[]): readonly Mutation[] {
  return edits
    .filter((edit) => !(edit.isDerived && isVoid(edit)))
    .map((edit) => {
      const { key, before, after } = edit
      return {
        key,
        value: after,
        ifRevision: before?.revision ?? 0,
        ...(isVoid(edit) && { isCheck: true as const }),
      }
    })
}

/**
 * Plans and commits until no other writer came in between. `plan` reads what it needs, each time anew, and throws to
 * refuse; `toExtra` gets what it returned. Without an edit that changes something nothing is committed.
 * @throws RevisionConflict when `plan` itself throws it, or after 100 attempts
 */
export async function commitPlanned<Plan extends { readonly edits: readonly Edit[] }>(
  store: Pick<Store, 'commit'>,
  plan: () => Promise<Plan>,
  toExtra: (plan: Plan) => readonly Mutation[] = () => [],
): Promise<{ readonly plan: Plan; readonly revisions: ReadonlyMap<string, number> }> {
  for (let attempt = 1; ; attempt += 1) {
    const planned = await plan()
    if (planned.edits.every(isVoid)) return { plan: planned, revisions: new Map() }
    const mutations = [...toMutations(planned.edits), ...toExtra(planned)]
    try {
      const revisions = await store.commit(mutations)
      return { plan: planned, revisions: byKey(mutations, revisions) }
    } catch (error) {
      if (!(error instanceof RevisionConflict) || attempt === MAX_ATTEMPTS) throw error
      if (attempt > HASTY_ATTEMPTS) await pause(attempt - HASTY_ATTEMPTS)
    }
  }
}

function pause(turn: number): Promise<void> {
  return sleep(Math.random() * Math.min(MAX_PAUSE_MS, 2 ** turn))
}

/** Of what was changed alone. */
function byKey(mutations: readonly Mutation[], revisions: readonly (number | undefined)[]) {
  const changed = mutations.map(({ key }, index) => [key, revisions[index]] as const)
  return new Map(changed.filter((entry): entry is readonly [string, number] => entry[1] !== undefined))
}
