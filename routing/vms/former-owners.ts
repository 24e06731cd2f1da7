/** Whose a VM's name was: a CNAME that its former owner left behind in DNS must not prove a domain for the next one. */

import type { Edit } from '../records/edits.ts'
import { isPast } from '../records/moments.ts'
import { FORMER_OWNERS, findSound, POOLS } from '../records/record-kinds.ts'
import type { FormerOwnerRecord } from '../records/vm-affairs.ts'
import type { Store, StoredDocument } from '../store/store.ts'

/** Who forgets a CNAME for so long has had time to see that it leads nowhere. */
const COUNTS_MS = 90 * 86_400_000

type Reads = Pick<Store, 'get'>

/** A VM's name, and the pool that has it. */
export interface NameOwner {
  readonly vm: string
  /** Undefined where nobody knows. */
  readonly pool: string | undefined
  readonly now: Date
}

export interface NamePast {
  /** True while a CNAME to the VM's name may be another pool's. */
  readonly isPassedOn: boolean
  /** Lets a commit fail when that has changed. */
  readonly pin: Edit
}

export async function readNamePast(store: Reads, owner: NameOwner): Promise<NamePast> {
  const key = FORMER_OWNERS.prefix + owner.vm
  const document = await store.get(key)
  const isPassedOn = document !== undefined && (await isOthers(store, document, owner))
  return { isPassedOn, pin: { key, before: document, after: document?.value } }
}

/**
 * The edit for the commit in which a VM, or a domain that led to it, goes. One mark for each name: after two pools it is
 * nobody's, so that neither has the CNAMEs of the other, and a third those of none.
 */
export async function planFormerOwner(store: Reads, owner: NameOwner): Promise<Edit> {
  const { vm, pool, now } = owner
  const { isPassedOn, pin } = await readNamePast(store, owner)
  const record = FORMER_OWNERS.parse({
    vm,
    ...(pool !== undefined && !isPassedOn && { pool }),
    at: now.toISOString(),
    expiresAt: new Date(now.getTime() + COUNTS_MS).toISOString(),
  })
  return { ...pin, after: { ...record }, isDerived: true }
}

/** What cannot be read may be anybody's. */
async function isOthers(store: Reads, document: StoredDocument, { pool, now }: NameOwner): Promise<boolean> {
  const mark = findSound(FORMER_OWNERS, document)?.record
  if (mark === undefined) return true
  if (isPast(mark.expiresAt, now)) return false
  return mark.pool === undefined || mark.pool !== pool || !(await wasThere(store, mark.pool, mark))
}

/** A pool that was given back and bought anew may be somebody else's. */
async function wasThere(store: Reads, pool: string, { at }: FormerOwnerRecord): Promise<boolean> {
  const document = await store.get(POOLS.prefix + pool)
  const found = document && findSound(POOLS, document)
  return found !== undefined && Date.parse(found.record.createdAt) <= Date.parse(at)
}
