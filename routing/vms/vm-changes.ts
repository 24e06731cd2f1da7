/** Changes of a VM: each is committed together with every row that it alters, so that edges read flat rows only. */

import { RecordInvalid, RoutingError } from '../errors.ts'
import { commitPlanned, type Edit, isVoid } from '../records/edits.ts'
import { BINDINGS, REPORTS, ROUTES, toStored, VMS } from '../records/record-kinds.ts'
import type { Mutation, Store, StoredDocument } from '../store/store.ts'
import { hasParts, JOIN_PREFIX, joinRow, readVmParts, type VmParts } from './vm-parts.ts'
import { checkSize } from './vm-size.ts'

const DEFAULT_FIELD = '/hostname'

type Tables = Pick<Store, 'get' | 'list' | 'commit'>

export interface VmPlan {
  /** The documents that the change is about. Rows follow by themselves; one that is edited here is left to the plan. */
  readonly edits: readonly Edit[]
  /** The VM's parts as they will be. */
  readonly after: Pick<VmParts, 'vm' | 'report' | 'grants' | 'bindings'>
  /** Rows of others that new bindings take over, as they were when that was found right. */
  readonly takes?: readonly StoredDocument[]
  /** What `api_name_taken` names; `/hostname` unless given. */
  readonly field?: string
  /** What is named when the VM's rows would be too large; `field` unless given. */
  readonly sizeField?: string
}

export interface VmCommit<Plan extends VmPlan> {
  readonly name: string
  /** Called again when another writer was faster. Throws to refuse. */
  readonly plan: (parts: VmParts) => Plan | Promise<Plan>
  /** What is to be committed with the change, an audit record above all. */
  readonly toExtra?: (plan: Plan) => readonly Mutation[]
}

export interface VmCommitted<Plan> {
  readonly plan: Plan
  /** Of each document that changed; empty when nothing did. */
  readonly revisions: ReadonlyMap<string, number>
}

/**
 * Returns what was planned and the revision of each document that changed.
 * @throws what `plan` throws; RecordInvalid when the VM's rows would be too large; RoutingError `api_name_taken`, and
 * `api_record_broken` when the VM's own record or its report breaks a rule and the plan does not replace it
 */
export async function commitVm<Plan extends VmPlan>(
  store: Tables,
  { name, plan, toExtra }: VmCommit<Plan>,
): Promise<VmCommitted<Plan>> {
  const { plan: done, revisions } = await commitPlanned(
    store,
    async () => {
      const parts = await readVmParts(store, name)
      const planned = mend(await plan(parts), parts)
      checkSize(parts, planned.after, planned.sizeField ?? planned.field ?? DEFAULT_FIELD)
      const edits = [...planned.edits, ...(await rowEdits(store, parts, planned))]
      return { planned, edits: withJoin(edits, parts, planned) }
    },
    ({ planned }) => toExtra?.(planned) ?? [],
  )
  return { plan: done.planned, revisions }
}

/** A broken document can be replaced, but nothing is joined while it is there: the last good rows stay. */
function mend<Plan extends VmPlan>(plan: Plan, { name, broken }: VmParts): Plan {
  for (const kind of [VMS, REPORTS]) {
    const document = broken.get(kind.prefix + name)
    if (document && !plan.edits.some(({ key }) => key === document.key)) toStored<unknown>(kind, document)
  }
  const edits = plan.edits.map((edit) => ({ ...edit, before: edit.before ?? broken.get(edit.key) }))
  return { ...plan, edits }
}

/** Adds the edit that lets no other change of the VM be committed next to this one. */
function withJoin(edits: readonly Edit[], { name, join }: VmParts, { after }: VmPlan): readonly Edit[] {
  if (edits.every(isVoid)) return edits
  const changes = Number(join?.value.changes ?? 0) + 1
  const value = hasParts(after) ? { name, changes } : undefined
  return [...edits, { key: JOIN_PREFIX + name, before: join, after: value, isDerived: true }]
}

/** Every row that is to be written or deleted. */
async function rowEdits(store: Tables, parts: VmParts, plan: VmPlan): Promise<readonly Edit[]> {
  const wanted = new Map(
    plan.after.bindings.map(({ record }) => [record.hostname, joinRow(record, plan.after)]),
  )
  const isPlanned = new Set(plan.edits.map(({ key }) => key))
  const hostnames = new Set([...parts.rows.keys(), ...wanted.keys()])
  const edits = [...hostnames].map(async (hostname): Promise<Edit | undefined> => {
    const key = ROUTES.prefix + hostname
    // The row of a binding that cannot be read stays as it is, like those of a VM that cannot be read.
    const bindingKey = `${BINDINGS.prefix}${parts.name}/${hostname}`
    const isUnknown = parts.broken.has(bindingKey) && !isPlanned.has(bindingKey)
    if (isPlanned.has(key) || isUnknown) return undefined
    const row = wanted.get(hostname)
    const before = await findOwnRow(store, { parts, plan, hostname })
    return before === 'foreign' ? undefined : { key, before, after: row && { ...row }, isDerived: true }
  })
  return (await Promise.all(edits)).filter((edit) => edit !== undefined)
}

interface RowPlace {
  readonly parts: VmParts
  readonly plan: VmPlan
  readonly hostname: string
}

/** The row that may be written over. @throws RoutingError `api_name_taken` for a new binding to what is another's */
async function findOwnRow(
  store: Tables,
  { parts, plan, hostname }: RowPlace,
): Promise<StoredDocument | undefined | 'foreign'> {
  const key = ROUTES.prefix + hostname
  const isBound = parts.bindings.some(({ record }) => record.hostname === hostname)
  const taken = plan.takes?.find((row) => row.key === key)
  if (taken) return taken
  const row = parts.rows.get(hostname) ?? (await store.get(key))
  if (row === undefined || row.value.vm === parts.name) return row
  // What cannot be read may be anybody's: only who has the name already may write it anew.
  if (isBound) return isSound(row) ? 'foreign' : row
  if (!plan.after.bindings.some(({ record }) => record.hostname === hostname)) return 'foreign'
  const { field = DEFAULT_FIELD } = plan
  throw new RoutingError('api_name_taken', { detail: `"${hostname}" leads elsewhere.`, context: { field } })
}

function isSound(row: StoredDocument): boolean {
  try {
    ROUTES.parse(row.value, row.key)
    return true
  } catch (error) {
    if (!(error instanceof RecordInvalid)) throw error
    return false
  }
}
