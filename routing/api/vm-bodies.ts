/** What a body makes of a VM: a new record, or the one that there is with what the body names. */

import { type Static, Type } from 'typebox'
import { RecordInvalid, RoutingError } from '../errors.ts'
import type { Edit } from '../records/edits.ts'
import { listRecords, POOLS, VMS } from '../records/record-kinds.ts'
import { VM, type VmRecord } from '../records/records.ts'
import { impliedBindings, isReservedVmName, MAX_VM_NAME_CHARACTERS } from '../vms/platform.ts'
import type { VmParts } from '../vms/vm-parts.ts'
import { type Caller, checkMay, may } from './caller.ts'
import type { ApiContext } from './context.ts'
import { enterPool } from './pool-doors.ts'
import { strict } from './schemas.ts'

/** Each is a host name and a row, and all of a VM's rows are written in one commit. */
export const MAX_DECLARED_PORTS = 50
const DEFAULT_POOL = 'default'
const DEFAULT_IMAGE = 'hello'

const { name, pool, image, state, port, ports, comment } = VM.properties
const FIELDS = {
  pool: Type.Optional(pool),
  image: Type.Optional(image),
  state: Type.Optional(state),
  port,
  ports: Type.Optional(ports),
  comment,
}
export const PUT_VM = strict(FIELDS, {
  examples: [{ image: 'hello', ports: { 8000: { visibility: 'public' } } }],
})
export const POST_VM = strict(
  { name: Type.Optional(name), ...FIELDS },
  { examples: [{ pool: 'default', comment: 'the API names it' }] },
)

export type VmBody = Static<typeof PUT_VM>

export interface VmDraft {
  readonly record: VmRecord
  /** What has to be committed with a new VM, for its pool to be there when it comes. */
  readonly entry: readonly Edit[]
}

export interface VmDemand {
  readonly caller: Caller
  readonly body: VmBody
  /** What problems name when the VM's name is at fault. */
  readonly field: '/vm' | '/name'
}

/** @throws RecordInvalid, RoutingError `api_name_taken`, `api_name_reserved`, `api_forbidden`, `api_pool_unknown` */
export async function draftVm(context: ApiContext, parts: VmParts, demand: VmDemand): Promise<VmDraft> {
  const { vm } = parts
  const { record: base, entry } =
    vm === undefined
      ? await createBase(context, parts, demand)
      : { record: getBase(vm, demand), entry: [] as const }
  return { record: toVmRecord(context, base, demand), entry }
}

/** The VM that the body makes of `before`. */
function toVmRecord({ domain }: ApiContext, before: VmRecord, { body, field }: VmDemand): VmRecord {
  const { comment, ...rest } = { ...before, ...body, pool: before.pool }
  const record = VMS.parse({ ...rest, ...(comment !== undefined && comment !== '' && { comment }) })
  if (Object.keys(record.ports).length > MAX_DECLARED_PORTS) {
    throw new RecordInvalid('/ports', `It must have at most ${MAX_DECLARED_PORTS} ports.`)
  }
  if (impliedBindings(record, domain).length === Object.keys(record.ports).length + 1) return record
  throw new RecordInvalid(field, `"${record.name}.${domain}" is no host name.`)
}

/** The record that is changed. Its pool decides where it runs and who pays: it is never changed here. */
function getBase({ record }: NonNullable<VmParts['vm']>, { caller, body, field }: VmDemand): VmRecord {
  const isKnown = may(caller, 'read', record.pool) || may(caller, 'write', record.pool)
  if (!isKnown) {
    throw new RoutingError('api_name_taken', { detail: `"${record.name}" is taken.`, context: { field } })
  }
  checkMay(caller, 'write', record.pool)
  if (body.pool === undefined || body.pool === record.pool) return record
  const detail = `A VM stays in its pool, which is "${record.pool}". Make another VM in "${body.pool}".`
  throw new RecordInvalid('/pool', detail)
}

async function createBase(
  context: ApiContext,
  { name, broken }: VmParts,
  { caller, body, field }: VmDemand,
): Promise<VmDraft> {
  checkName(name, field)
  // Whose it was cannot be read any more.
  if (broken.has(VMS.prefix + name)) checkMay(caller, 'admin', undefined)
  const pool = body.pool ?? (await findOnlyPool(context, caller)) ?? DEFAULT_POOL
  checkMay(caller, 'write', pool)
  const entry = await enterPool(context.store, { pool, field: '/pool' })
  const createdAt = context.now().toISOString()
  return {
    record: { name, pool, image: DEFAULT_IMAGE, state: 'running', ports: {}, createdAt },
    entry,
  }
}

function checkName(name: string, field: VmDemand['field']): void {
  if (isReservedVmName(name)) {
    throw new RoutingError('api_name_reserved', { detail: `"${name}" is reserved.`, context: { field } })
  }
  if (name.length <= MAX_VM_NAME_CHARACTERS) return
  throw new RecordInvalid(field, `It must have at most ${MAX_VM_NAME_CHARACTERS} characters.`)
}

/** The only pool that the caller may read. */
async function findOnlyPool({ store }: ApiContext, caller: Caller): Promise<string | undefined> {
  let found: string | undefined
  for await (const { record } of listRecords(store, POOLS)) {
    if (!may(caller, 'read', record.name)) continue
    if (found !== undefined) return undefined
    found = record.name
  }
  return found
}
