/** Share links in use: each use is counted, and whoever logged in for it gets a grant of their own. */

import { randomBytes } from 'node:crypto'
import { RecordInvalid } from '../errors.ts'
import { toAudits } from '../records/audits.ts'
import { type Edit, toEdit } from '../records/edits.ts'
import type { GrantRecord } from '../records/grants.ts'
import { isPast } from '../records/moments.ts'
import { GRANTS, type Stored } from '../records/record-kinds.ts'
import type { Store } from '../store/store.ts'
import { countLive, makeRoom } from '../vms/ended-grants.ts'
import { commitVm, type VmPlan } from '../vms/vm-changes.ts'
import { readVmParts, type VmParts } from '../vms/vm-parts.ts'
import { MAX_GRANTS } from '../vms/vm-size.ts'
import { type LinkCounts, type LinkStep, ONE_USE } from './link-counts.ts'

/** Who is let in; without them it is whoever has the link. */
export interface LinkUse {
  readonly vm: string
  readonly id: string
  readonly person?: { readonly user: string; readonly email?: string }
}

/** `used`: it was for one use. `gone`: deleted, closed, or run out. `full`: the VM can have no more grants. */
export type LinkState = 'open' | 'used' | 'gone' | 'full'

export type LinkOutcome = 'let-in' | 'used' | 'gone' | 'needs-login' | 'full'

interface LinkPlan extends VmPlan {
  readonly outcome: LinkOutcome
}

type Link = Stored<GrantRecord> & { readonly record: { readonly link: NonNullable<GrantRecord['link']> } }

const ID_BYTES = 9
/** Names the grants in what is refused. */
const SIZE_FIELD = '/grants'

/** What the link is good for to somebody new. @throws RoutingError `store_…`, `api_record_broken` */
export async function findLink(
  store: Pick<Store, 'get' | 'list'>,
  { vm, id }: Pick<LinkUse, 'vm' | 'id'>,
  now: Date,
): Promise<LinkState> {
  const parts = await readVmParts(store, vm)
  const link = parts.grants.find((stored): stored is Link => isLinkOf(stored, id))
  if (parts.vm === undefined || link === undefined || !isOpen(link.record, now)) return 'gone'
  if (isUsed(link.record)) return 'used'
  return link.record.link.needsLogin && countLive(parts.grants, now) >= MAX_GRANTS ? 'full' : 'open'
}

/** Nothing is written but for `let-in`. @throws RoutingError `store_…`, `api_record_broken` */
export async function useLink(
  store: Pick<Store, 'get' | 'list' | 'commit'>,
  use: LinkUse,
  { now, counts }: { readonly now: () => Date; readonly counts: LinkCounts },
): Promise<LinkOutcome> {
  const step = use.person ? ONE_USE : counts.add(`${use.vm}/${use.id}`, now().getTime())
  try {
    const { plan } = await commitVm(store, {
      name: use.vm,
      plan: (parts) => planUse(parts, use, { now: now(), step }),
      toExtra: ({ edits, after }) =>
        toAudits(edits, {
          at: now(),
          who: `link:${use.id}`,
          pool: after.vm?.record.pool,
          requestId: '',
        }),
    })
    return plan.outcome
  } catch (error) {
    if (error instanceof RecordInvalid && error.field === SIZE_FIELD) return 'full'
    throw error
  }
}

interface Moment {
  readonly now: Date
  /** What a use without a person writes, where the link is for many. */
  readonly step: LinkStep
}

function planUse(parts: VmParts, { id, person }: LinkUse, { now, step }: Moment): LinkPlan {
  const link = parts.grants.find((stored): stored is Link => isLinkOf(stored, id))
  const refuse = (outcome: LinkOutcome): LinkPlan => ({ edits: [], after: parts, outcome })
  if (parts.vm === undefined || link === undefined || !isOpen(link.record, now)) return refuse('gone')
  if (person === undefined) return planVisit(parts, { link, now, step })
  const grant = toPersonal(link.record, person, now)
  // They are in as it is: their coming again takes nobody's place.
  if (parts.grants.some(({ record }) => isAsGood(record, grant))) return refuse('let-in')
  if (isUsed(link.record)) return refuse('used')
  if (countLive(parts.grants, now) >= MAX_GRANTS) return refuse('full')
  return planEntry(parts, { link, grant, step: ONE_USE, now })
}

/** Of somebody who stays unknown. */
function planVisit(parts: VmParts, { link, now, step }: Moment & { readonly link: Link }): LinkPlan {
  const { record } = link
  const entry = { link, grant: undefined, now, step: record.link.isSingleUse ? ONE_USE : step }
  const refuse = (outcome: LinkOutcome): LinkPlan => ({ edits: [], after: parts, outcome })
  if (record.link.needsLogin) return refuse('needs-login')
  if (isUsed(record)) return refuse('used')
  return entry.step.uses === 0 ? refuse('let-in') : planEntry(parts, entry)
}

function isUsed({ link }: Link['record']): boolean {
  return link.isSingleUse && link.uses > 0
}

interface Entry extends Moment {
  readonly link: Link
  readonly grant: GrantRecord | undefined
}

function planEntry(parts: VmParts, { link, grant, step, now }: Entry): LinkPlan {
  const { record } = link
  const counted = GRANTS.parse({ ...record, link: { ...record.link, uses: record.link.uses + step.uses } })
  const count = toEdit<GrantRecord>(link.key, { before: link, after: counted })
  const room = grant ? makeRoom(parts, grant, now) : { grants: parts.grants, edits: [] }
  const others = room.grants.filter((stored) => stored !== link)
  const grants = [...others, { ...link, record: counted }]
  if (grant === undefined) {
    const edit: Edit = step.isAudited ? count : { ...count, isDerived: true }
    return { edits: [edit], after: { ...parts, grants }, outcome: 'let-in' }
  }
  const key = GRANTS.keyOf(grant)
  // The grant's own audit record tells of the use.
  const made = toEdit(key, { before: undefined, after: grant })
  const edits: Edit[] = [{ ...count, isDerived: true }, made, ...room.edits]
  const after = { ...parts, grants: [...grants, { key, record: grant, revision: 0 }] }
  return { edits, after, sizeField: SIZE_FIELD, outcome: 'let-in' }
}

function isLinkOf({ record }: Stored<GrantRecord>, id: string): boolean {
  return record.id === id && record.link !== undefined && record.to.kind === 'link'
}

function isOpen({ link, expiresAt }: GrantRecord, now: Date): boolean {
  return link?.closedAt === undefined && !isPast(expiresAt, now)
}

/** An address is what people share with; it stays theirs when the provider's id of them changes. */
function toPersonal(
  { id, vm, ports, expiresAt }: GrantRecord,
  { user, email }: NonNullable<LinkUse['person']>,
  now: Date,
): GrantRecord {
  return GRANTS.parse({
    id: randomBytes(ID_BYTES).toString('base64url'),
    vm,
    to: email === undefined ? { kind: 'user', value: user } : { kind: 'email', value: email },
    ...(ports && { ports }),
    role: 'viewer',
    ...(expiresAt !== undefined && { expiresAt }),
    via: id,
    createdAt: now.toISOString(),
    createdBy: `link:${id}`,
  })
}

/** To the same, for the same ports, for as long or longer. */
function isAsGood(one: GrantRecord, wanted: GrantRecord): boolean {
  const isSame =
    one.to.kind === wanted.to.kind &&
    one.to.value === wanted.to.value &&
    String(one.ports ?? 'default') === String(wanted.ports ?? 'default')
  return isSame && endOf(one) >= endOf(wanted)
}

function endOf({ expiresAt }: GrantRecord): number {
  return expiresAt === undefined ? Number.POSITIVE_INFINITY : Date.parse(expiresAt)
}
