/** What a new VM takes over from the one that it is made as a copy of, and how large a VM may be. */

import { type Static, Type } from 'typebox'
import { RecordInvalid, RoutingError } from '../errors.ts'
import { type Edit, toEdit } from '../records/edits.ts'
import { findRecord, POOLS, VMS } from '../records/record-kinds.ts'
import { VM_SOURCE, type VmRecord } from '../records/records.ts'
import type { Store } from '../store/store.ts'
import { type Caller, may } from './caller.ts'
import { pinReady } from './snapshot-writes.ts'
import { findSound } from './vm-view.ts'

const { vm, snapshot } = VM_SOURCE.properties
export const SOURCE_BODY = Type.Object(
  { vm, snapshot },
  {
    additionalProperties: false,
    description: 'a VM, and a snapshot of it unless it is to be copied as it is: {"vm", "snapshot"}',
  },
)

export type SourceBody = Static<typeof SOURCE_BODY>

/** Of the original's record; its host names, grants and comment are its own. */
const INHERITED = [
  ...(['image', 'port', 'cpus', 'memoryBytes', 'diskBytes'] as const),
  ...(['weight', 'egress', 'suspendAfterSeconds'] as const),
]

export interface Copied {
  readonly pool: string
  readonly record: Partial<VmRecord> & Required<Pick<VmRecord, 'source' | 'image'>>
  /** What the commit has to hold for the source to be there. */
  readonly pins: readonly Edit[]
}

/**
 * A VM that the caller may not even know of is as good as none.
 * @throws RoutingError `api_vm_unknown`, `api_snapshot_unknown`, `api_snapshot_unusable`
 */
export async function readSource(
  store: Pick<Store, 'get'>,
  caller: Caller,
  source: SourceBody,
): Promise<Copied> {
  const stored = await findRecord(store, VMS, source.vm)
  const pool = stored?.record.pool
  if (stored === undefined || !(may(caller, 'read', pool) || may(caller, 'write', pool))) {
    const detail = `There is no VM "${source.vm}".`
    throw new RoutingError('api_vm_unknown', { detail, context: { field: '/source/vm' } })
  }
  const { record } = stored
  const named = { vm: record, field: '/source/snapshot' }
  const pinned =
    source.snapshot === undefined ? [] : [await pinReady(store, { ...named, snapshot: source.snapshot })]
  const inherited = INHERITED.flatMap((name) => (record[name] === undefined ? [] : [[name, record[name]]]))
  return {
    pool: record.pool,
    record: {
      image: record.image,
      ...Object.fromEntries(inherited),
      source: { ...source, createdAt: record.createdAt },
    },
    pins: [toEdit(stored.key, { before: stored, after: record }), ...pinned],
  }
}

/** What a VM was made from cannot be changed; to say it again is no change. @throws RecordInvalid */
export function checkSource({ source }: VmRecord, wanted: SourceBody | undefined): void {
  if (wanted === undefined) return
  if (source?.vm === wanted.vm && source.snapshot === wanted.snapshot) return
  throw new RecordInvalid('/source', 'A VM is made as a copy only when it is made: make another one.')
}

const MILLIS_PER_CPU = 1_000

type Sizes = Pick<Partial<VmRecord>, 'cpus' | 'memoryBytes' | 'diskBytes'>

/**
 * A VM may be as large as its pool. Its disk may be larger than the pool's: only what is written takes room.
 * @throws RecordInvalid
 */
export async function checkFits(
  store: Pick<Store, 'get'>,
  name: string,
  { cpus = 0, memoryBytes = 0 }: Sizes,
): Promise<void> {
  if (cpus === 0 && memoryBytes === 0) return
  const pool = (await findSound(store, POOLS, name))?.record
  if (pool === undefined) return
  const most = Math.ceil(pool.cpuMillis / MILLIS_PER_CPU)
  if (cpus > most) {
    throw new RecordInvalid('/cpus', `It must be at most ${most}: so many CPUs has the pool "${name}".`)
  }
  if (memoryBytes > pool.memoryBytes) {
    const detail = `It must be at most ${pool.memoryBytes}: so many bytes has the pool "${name}".`
    throw new RecordInvalid('/memoryBytes', detail)
  }
}

/** @throws RecordInvalid */
export function checkGrows(before: Sizes, { diskBytes }: Sizes): void {
  if (diskBytes === undefined || diskBytes >= (before.diskBytes ?? 0)) return
  throw new RecordInvalid('/diskBytes', `It must be at least ${before.diskBytes}: a disk never shrinks.`)
}
