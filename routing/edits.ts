/** Edits: what one change makes of each document it touches, so that it can be committed, retried and audited. */

import { isDeepStrictEqual } from 'node:util'
import { RevisionConflict } from './errors.ts'
import type { Document, Mutation, Store, StoredDocument } from './store.ts'

export interface Edit {
  readonly key: string
  /** What was read; undefined when there was nothing. The edit fails when it is no longer so. */
  readonly before: Pick<StoredDocument, 'value' | 'revision'> | undefined
  /** Undefined to delete. */
  readonly after: Document | undefined
  /** Follows from other edits of the same change, and needs no audit record of its own. */
  readonly isDerived?: true
}

/** Each lost attempt means that another writer succeeded. */
const MAX_ATTEMPTS = 100

/** True when the edit would leave the document as it is. */
export function isVoid({ before, after }: Edit): boolean {
  return isDeepStrictEqual(before?.value, after)
}

export function toMutations(edits: readonly Edit[]): readonly Mutation[] {
  return edits.map(({ key, before, after }) => ({ key, value: after, ifRevision: before?.revision ?? 0 }))
}

/**
 * Plans and commits until no other writer came in between. `plan` reads what it needs, each time anew, and throws to
 * refuse; `commit` gets what it returned. @throws RevisionConflict when `plan` itself throws it, or after 100 attempts
 */
export async function commitPlanned<Plan extends { readonly edits: readonly Edit[] }>(
  store: Pick<Store, 'commit'>,
  plan: () => Promise<Plan>,
  toExtra: (plan: Plan) => readonly Mutation[] = () => [],
): Promise<{ readonly plan: Plan; readonly revisions: ReadonlyMap<string, number> }> {
  for (let attempt = 1; ; attempt += 1) {
    const planned = await plan()
    const edits = planned.edits.filter((edit) => !isVoid(edit))
    if (edits.length === 0) return { plan: planned, revisions: new Map() }
    const mutations = [...toMutations(edits), ...toExtra(planned)]
    try {
      const revisions = await store.commit(mutations)
      return { plan: planned, revisions: byKey(mutations, revisions) }
    } catch (error) {
      if (!(error instanceof RevisionConflict) || attempt === MAX_ATTEMPTS) throw error
    }
  }
}

function byKey(mutations: readonly Mutation[], revisions: readonly (number | undefined)[]) {
  return new Map(mutations.map(({ key }, index) => [key, revisions[index] ?? 0]))
}
