/** Snapshots made, deleted and restored on request: each in one commit with what its host has to know. */

import { randomBytes } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { RecordInvalid, RoutingError } from '../errors.ts'
import { type Edit, toEdit } from '../records/edits.ts'
import { findSound, listRecords, SNAPSHOTS, type Stored } from '../records/record-kinds.ts'
import type { VmRecord } from '../records/records.ts'
import type { SnapshotRecord } from '../records/vm-affairs.ts'
import type { Store } from '../store/store.ts'
import { planGrave } from '../vms/graves.ts'
import { planRecord, toRawDeletion } from '../vms/vm-plans.ts'
import type { ApiContext } from './context.ts'
import { pin } from './pool-doors.ts'
import { notFound } from './reads.ts'
import { getAllowed, writeVm } from './vm-writes.ts'

/** Of one VM; those that restores kept are counted for themselves. */
export const MAX_SNAPSHOTS = 100
const ID_BYTES = 6

export async function createSnapshot(
  request: FastifyRequest,
  context: ApiContext,
  { vm: name, label }: { readonly vm: string; readonly label: string | undefined },
): Promise<Stored<SnapshotRecord>> {
  const id = createId()
  const { plan, revision } = await writeVm(request, context, {
    vm: name,
    plan: async (parts) => {
      const { createdAt: vmCreatedAt, pool } = getAllowed(request.caller, 'write', parts).record
      await checkRoom(context.store, name, 'made')
      const record = SNAPSHOTS.parse({
        ...{ id, vm: name, vmCreatedAt, pool, kind: 'made', state: 'wanted' },
        ...(label !== undefined && label !== '' && { label }),
        createdAt: context.now().toISOString(),
      })
      const key = SNAPSHOTS.keyOf(record)
      const edits = [toEdit<SnapshotRecord>(key, { before: undefined, after: record })]
      return { edits, after: parts, target: { key, current: 0 }, pool, record }
    },
  })
  return { key: plan.target.key, record: plan.record, revision }
}

/** Its files go after the grace period of its host. */
export async function deleteSnapshot(
  request: FastifyRequest,
  context: ApiContext,
  { vm: name, id }: { readonly vm: string; readonly id: string },
): Promise<void> {
  await writeVm(request, context, {
    vm: name,
    plan: async (parts) => {
      const { pool, createdAt } = getAllowed(request.caller, 'write', parts).record
      const key = `${SNAPSHOTS.prefix}${name}/${id}`
      const document = await context.store.get(key)
      if (document === undefined) throw notFound(SNAPSHOTS, `${name}/${id}`)
      const isOwn = document.value.vmCreatedAt === createdAt
      const grave = isOwn ? await planGrave(context.store, { parts, snapshot: id, now: context.now() }) : []
      const edits = [toRawDeletion(document), ...grave]
      return { edits, after: parts, target: { key, current: document.revision }, pool }
    },
  })
}

/** The VM as it is then, with its new wish. */
export async function restoreSnapshot(
  request: FastifyRequest,
  context: ApiContext,
  { vm: name, snapshot }: { readonly vm: string; readonly snapshot: string },
): Promise<Stored<VmRecord>> {
  const id = createId()
  const { plan, revision } = await writeVm(request, context, {
    vm: name,
    plan: async (parts) => {
      const before = getAllowed(request.caller, 'write', parts)
      await checkRoom(context.store, name, 'kept')
      const pinned = await pinReady(context.store, { vm: before.record, snapshot, field: '/snapshot' })
      const record = { ...before.record, restore: { id, snapshot } }
      const { edits, after } = planRecord(parts, record, context.domain)
      const target = { key: before.key, current: before.revision }
      return { edits: [...edits, pinned], after, target, pool: record.pool, record }
    },
  })
  return { key: plan.target.key, record: plan.record, revision }
}

export interface NamedSnapshot {
  readonly vm: Pick<VmRecord, 'name' | 'createdAt'>
  readonly snapshot: string
  /** What problems name. */
  readonly field: string
}

/**
 * What a commit has to hold for the snapshot to be there when it is used.
 * @throws RoutingError `api_snapshot_unknown`, `api_snapshot_unusable`
 */
export async function pinReady(
  store: Pick<Store, 'get'>,
  { vm, snapshot, field }: NamedSnapshot,
): Promise<Edit> {
  const document = await store.get(`${SNAPSHOTS.prefix}${vm.name}/${snapshot}`)
  const record = document && findSound(SNAPSHOTS, document)?.record
  if (document === undefined || record?.vmCreatedAt !== vm.createdAt) {
    const detail = `"${vm.name}" has no snapshot "${snapshot}".`
    throw new RoutingError('api_snapshot_unknown', { detail, context: { field } })
  }
  if (record.state === 'ready') return pin(document)
  const why =
    record.state === 'wanted' ? 'is still to be taken' : `failed: ${record.message ?? 'nobody knows why'}`
  const detail = `The snapshot "${snapshot}" of "${vm.name}" ${why}.`
  throw new RoutingError('api_snapshot_unusable', { detail, context: { field } })
}

/** @throws RecordInvalid */
async function checkRoom(
  store: Pick<Store, 'list'>,
  vm: string,
  kind: SnapshotRecord['kind'],
): Promise<void> {
  let count = 0
  for await (const { record } of listRecords(store, SNAPSHOTS, `${vm}/`)) if (record.kind === kind) count += 1
  if (count < MAX_SNAPSHOTS) return
  const what = kind === 'made' ? 'snapshots' : 'snapshots that restores kept'
  throw new RecordInvalid('', `The VM has ${MAX_SNAPSHOTS} ${what}, and cannot have more: delete some.`)
}

/** Without a hyphen in front, which command lines would take for an option. */
function createId(): string {
  return randomBytes(ID_BYTES).toString('hex')
}
