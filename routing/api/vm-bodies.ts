/** What a body makes of a VM: a new record, or the one that there is with what the body names. */

import { type Static, Type } from 'typebox'
import { RecordInvalid, RoutingError } from '../errors.ts'
import type { Edit } from '../records/edits.ts'
import { GRAVES, listRecords, POOLS, VMS } from '../records/record-kinds.ts'
import { VM, type VmRecord } from '../records/records.ts'
import { impliedBindings, isReservedVmName, MAX_VM_NAME_CHARACTERS } from '../vms/platform.ts'
import type { VmParts } from '../vms/vm-parts.ts'
import { type Caller, checkMay, may } from './caller.ts'
import type { ApiContext } from './context.ts'
import { enterPool } from './pool-doors.ts'
import { strict } from './schemas.ts'
import { type Copied, checkFits, checkGrows, checkSource, readSource, SOURCE_BODY } from './vm-sources.ts'

/** Each is a host name and a row, and all of a VM's rows are written in one commit. */
export const MAX_DECLARED_PORTS = 50
const DEFAULT_POOL = 'default'
const DEFAULT_IMAGE = 'hello'

const NEVER = 0
const MAX_SUSPEND_SECONDS = 31_536_000

const { name, pool, image, state, port, ports, comment } = VM.properties
const { cpus, memoryBytes, diskBytes, weight, egress } = VM.properties
const FIELDS = {
  pool: Type.Optional(pool),
  image: Type.Optional(image),
  state: Type.Optional(state),
  port,
  ports: Type.Optional(ports),
  comment,
  ...{ cpus, memoryBytes, diskBytes, weight, egress },
  suspendAfterSeconds: Type.Optional(
    Type.Integer({
      minimum: NEVER,
      maximum: MAX_SUSPEND_SECONDS,
      description: 'a whole number of seconds from 5 to 31536000, or 0 for never',
    }),
  ),
  source: Type.Optional(SOURCE_BODY),
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
  await checkFits(context.store, base.pool, demand.body)
  checkGrows(base, demand.body)
  return { record: toVmRecord(context, base, demand), entry }
}

/** The VM that the body makes of `before`. */
function toVmRecord({ domain }: ApiContext, before: VmRecord, { body, field }: VmDemand): VmRecord {
  const { comment, suspendAfterSeconds, source: _named, ...rest } = { ...before, ...body, pool: before.pool }
  const record = VMS.parse({
    ...rest,
    ...(comment !== undefined && comment !== '' && { comment }),
    ...(suspendAfterSeconds !== NEVER && suspendAfterSeconds !== undefined && { suspendAfterSeconds }),
    ...(before.source && { source: before.source }),
  })
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
  checkSource(record, body.source)
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
  const copied = body.source && (await readSource(context.store, caller, body.source))
  if (copied) checkCopy(copied, body)
  const pool = copied?.pool ?? body.pool ?? (await findOnlyPool(context, caller)) ?? DEFAULT_POOL
  checkMay(caller, 'write', pool)
  const entry = await enterPool(context.store, { pool, field: '/pool' })
  const createdAt = await findFreeMoment(context, name)
  return {
    record: { name, pool, image: DEFAULT_IMAGE, state: 'running', ports: {}, createdAt, ...copied?.record },
    entry: [...entry, ...(copied?.pins ?? [])],
  }
}

/** Hosts know a VM by its name and this: one that was deleted within the same millisecond must be another. */
async function findFreeMoment({ store, now }: ApiContext, name: string): Promise<string> {
  for (let at = now().getTime(); ; at += 1) {
    const createdAt = new Date(at).toISOString()
    if ((await store.get(`${GRAVES.prefix}${name}/${createdAt}`)) === undefined) return createdAt
  }
}

/** Its disk has an image on it, and is where that of its source is. @throws RecordInvalid */
function checkCopy({ pool, record }: Copied, body: VmBody): void {
  if (body.pool !== undefined && body.pool !== pool) {
    throw new RecordInvalid('/pool', `A copy stays in the pool of its source, which is "${pool}".`)
  }
  if (body.image === undefined || body.image === record.image) return
  throw new RecordInvalid('/image', `A copy has the image of its source, which is "${record.image}".`)
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
