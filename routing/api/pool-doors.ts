/** The door of each pool: what is made in a pool and the pool's own end cannot both be committed. */

import { RoutingError } from '../errors.ts'
import type { Edit } from '../records/edits.ts'
import { POOLS, toStored } from '../records/record-kinds.ts'
import type { Store, StoredDocument } from '../store/store.ts'

/** `inside/<pool>`: `{name, changes}`, written by whatever comes into the pool, and gone with the pool. */
export const INSIDE_PREFIX = 'inside/'

/** What a commit has to hold for something to come into the pool, which is in the field that is named. */
export interface Entry {
  readonly pool: string
  readonly field: string
}

/** @throws RoutingError `api_pool_unknown` with the field at fault */
export async function enterPool(store: Pick<Store, 'get'>, { pool, field }: Entry): Promise<readonly Edit[]> {
  const key = INSIDE_PREFIX + pool
  const before = await store.get(key)
  const document = await store.get(POOLS.prefix + pool)
  if (document === undefined) {
    throw new RoutingError('api_pool_unknown', {
      detail: `There is no pool "${pool}".`,
      context: { field },
    })
  }
  toStored(POOLS, document)
  const changes = Number(before?.value.changes ?? 0) + 1
  return [{ key, before, after: { name: pool, changes }, isDerived: true }, pin(document)]
}

/** Has to be read before what is in the pool: whatever comes in later fails this edit. */
export async function closePool(store: Pick<Store, 'get'>, pool: string): Promise<Edit> {
  const key = INSIDE_PREFIX + pool
  const before = await store.get(key)
  // Where nothing ever came in, it is the absence that is pinned, and a derived edit pins nothing.
  return { key, before, after: undefined, ...(before && { isDerived: true as const }) }
}

/** Lets the commit fail when the document is not any more what was read. */
export function pin({ key, value, revision }: StoredDocument): Edit {
  return { key, before: { value, revision }, after: value }
}
