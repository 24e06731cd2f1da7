/** Graves: what a host has to delete of a VM or a snapshot that is gone from the table, and when it has. */

import type { Edit } from '../records/edits.ts'
import { findSound, GRAVES, POOLS } from '../records/record-kinds.ts'
import type { GraveRecord } from '../records/vm-affairs.ts'
import type { Store } from '../store/store.ts'
import type { VmParts } from './vm-parts.ts'

/** What is to be deleted: the VM, or one of its snapshots. */
export interface Dead {
  readonly parts: Pick<VmParts, 'vm' | 'report'>
  readonly snapshot?: string
  readonly now: Date
}

/**
 * The edits that make the grave: none where no host can have files. They follow from a deletion, so they need no audit
 * records of their own.
 */
export async function planGrave(
  store: Pick<Store, 'get'>,
  { parts: { vm, report }, snapshot, now }: Dead,
): Promise<readonly Edit[]> {
  if (vm === undefined) return []
  const { name, createdAt, pool } = vm.record
  const host = report?.record.host ?? (await findHost(store, pool))
  if (host === undefined) return []
  const record = GRAVES.parse({
    ...{ vm: name, vmCreatedAt: createdAt, pool, host, deletedAt: now.toISOString() },
    ...(snapshot !== undefined && { snapshot }),
  })
  const key = GRAVES.keyOf(record)
  return [{ key, before: await store.get(key), after: { ...record }, isDerived: true }]
}

/** The files are gone, and so may be the grave. */
export async function clearGrave(
  store: Pick<Store, 'delete'>,
  grave: Pick<GraveRecord, 'vm' | 'vmCreatedAt' | 'snapshot'>,
): Promise<void> {
  const { vm, vmCreatedAt, snapshot } = grave
  const end = snapshot === undefined ? '' : `/${snapshot}`
  await store.delete(`${GRAVES.prefix}${vm}/${vmCreatedAt}${end}`)
}

/** Where the VM would have been started. */
async function findHost(store: Pick<Store, 'get'>, pool: string): Promise<string | undefined> {
  const document = await store.get(POOLS.prefix + pool)
  return document && findSound(POOLS, document)?.record.host
}
