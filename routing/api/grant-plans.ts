/** What grants, tokens and share links have in common: who may see them, and how a change of one is planned. */

import type { FastifyRequest } from 'fastify'
import { RecordInvalid } from '../errors.ts'
import { latestEndOf, planRevocation } from '../logins/revocations.ts'
import { toEdit } from '../records/edits.ts'
import type { GrantRecord } from '../records/grants.ts'
import { GRANTS, type Stored, VMS } from '../records/record-kinds.ts'
import { countLive, makeRoom } from '../vms/ended-grants.ts'
import type { VmParts } from '../vms/vm-parts.ts'
import { toDeletion, toDerived } from '../vms/vm-plans.ts'
import { MAX_GRANTS } from '../vms/vm-size.ts'
import { may } from './caller.ts'
import type { ApiContext } from './context.ts'
import { getStored, notFound } from './reads.ts'
import type { PlannedWrite } from './vm-writes.ts'

/** @throws RoutingError `api_not_found` */
export async function checkReadable(
  { caller, params: { vm } }: FastifyRequest<{ Params: { vm: string } }>,
  context: ApiContext,
): Promise<void> {
  const { record } = await getStored(context, VMS, vm)
  if (!may(caller, 'read', record.pool)) throw notFound(VMS, vm)
}

/** For one that is to be added; those that ran out make room. @throws RecordInvalid with the field */
export function checkRoom(grants: VmParts['grants'], now: Date, field: string): void {
  if (countLive(grants, now) < MAX_GRANTS) return
  const detail = `The VM has ${MAX_GRANTS} grants, tokens and share links, and cannot have more: delete some.`
  throw new RecordInvalid(field, detail)
}

/** Each port once, in order. */
export function sortedPorts(ports: readonly number[] | undefined): number[] | undefined {
  return ports && [...new Set(ports)].sort((one, other) => one - other)
}

/** `before` is what stood there, if it could be read. */
export interface GrantPlan extends PlannedWrite {
  readonly before: Stored<GrantRecord> | undefined
}

/** The grant as it shall be; what ran out goes with the same commit where its place is needed. */
export function planAdded(parts: VmParts, record: GrantRecord, now: Date): GrantPlan {
  const room = makeRoom(parts, record, now)
  const plan = planGrant({ ...parts, grants: room.grants }, record.id, record)
  return { ...plan, edits: [...plan.edits, ...room.edits] }
}

/** The grant as it shall be; undefined to delete it. */
export function planGrant(parts: VmParts, id: string, record: GrantRecord | undefined): GrantPlan {
  const key = `${GRANTS.prefix}${parts.name}/${id}`
  const before = parts.grants.find((stored) => stored.key === key)
  const others = parts.grants.filter((stored) => stored !== before)
  const current = before?.revision ?? parts.broken.get(key)?.revision ?? 0
  return {
    before,
    edits: [toEdit(key, { before, after: record })],
    after: { ...parts, grants: record ? [...others, { key, record, revision: 0 }] : others },
    target: { key, current },
    sizeField: '/to',
    pool: parts.vm?.record.pool,
  }
}

/** Deletes a grant; the text of a token counts for no other grant that names its id. */
export async function planTakingBack(context: ApiContext, parts: VmParts, id: string): Promise<GrantPlan> {
  const plan = planGrant(parts, id, undefined)
  const record = plan.before?.record
  if (record?.token === undefined) return plan
  const at = context.now()
  const expiresAt = record.expiresAt ?? latestEndOf(at)
  const revocation = await planRevocation(context.store, { kind: 'credential', value: id, expiresAt, at })
  return { ...plan, edits: [...plan.edits, toDerived(revocation)] }
}

/** Deletes a share link and every grant that somebody has by it. */
export function planEnd(parts: VmParts, link: Stored<GrantRecord>): PlannedWrite {
  const isEnding = ({ record }: Stored<GrantRecord>) =>
    record.id === link.record.id || record.via === link.record.id
  return {
    edits: parts.grants.filter(isEnding).map(toDeletion),
    after: { ...parts, grants: parts.grants.filter((stored) => !isEnding(stored)) },
    target: { key: link.key, current: link.revision },
    pool: parts.vm?.record.pool,
  }
}
