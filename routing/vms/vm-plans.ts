/** Plans of changes of a whole VM: its record with the host names that follow from it, and its end. */

import { findUploadDeletions } from '../certificates/former-uploads.ts'
import { type Edit, toEdit } from '../records/edits.ts'
import { BINDINGS, CALLS, DOMAINS, SNAPSHOTS, type Stored, VMS } from '../records/record-kinds.ts'
import type { BindingRecord, VmRecord } from '../records/records.ts'
import type { Store, StoredDocument } from '../store/store.ts'
import { planFormerOwner } from './former-owners.ts'
import { planGrave } from './graves.ts'
import { impliedBindings } from './platform.ts'
import type { VmPlan } from './vm-changes.ts'
import type { VmParts } from './vm-parts.ts'

/** `claim/<vm>/<hostname>` finds the domains of a VM; it comes and goes together with `domain/<hostname>`. */
export const CLAIM_PREFIX = 'claim/'
/** `<vm>`, or `<port>--<vm>`. */
const OWN_LABEL = /^(?:(?<port>\d+)--)?(?<vm>[^.]+)$/
/** Of one commit; the rows of a VM that cannot be read come on top. */
const MAX_DELETIONS = 600

/** The VM whose own host name this is, or would be if there were one; undefined for every other name. */
export function findNamesake(
  hostname: string,
  domain: string,
): { readonly vm: string; readonly port?: number } | undefined {
  if (!hostname.endsWith(`.${domain}`)) return undefined
  const { vm, port } = OWN_LABEL.exec(hostname.slice(0, -domain.length - 1))?.groups ?? {}
  return vm === undefined ? undefined : { vm, ...(port !== undefined && { port: Number(port) }) }
}

/**
 * The VM's record as it shall be, together with its own host names. A VM that comes anew starts without anything that
 * an earlier one of its name may have left.
 */
export function planRecord(parts: VmParts, record: VmRecord, domain: string): VmPlan {
  const key = VMS.keyOf(record)
  const own = impliedBindings(record, domain).map(toNewStored)
  const isNew = parts.vm === undefined && !parts.broken.has(key)
  const kept = isNew ? [] : parts.bindings.filter((stored) => !isOwnName(stored.record, domain))
  const bindings = [...kept, ...own]
  const vm = { key, record, revision: 0 }
  const edits = [
    toEdit(key, { before: parts.vm, after: record }),
    ...bindingEdits(parts, bindings).map(toDerived),
  ]
  if (!isNew) return { edits, after: { ...parts, bindings, vm } }
  const { report, grants, broken } = parts
  const leftovers = [
    ...(report ? [toDeletion(report)] : []),
    ...grants.map((stored) => toDeletion(stored)),
    ...[...broken.values()].map(toRawDeletion),
  ]
  return {
    edits: [...edits, ...leftovers.map(toDerived)],
    after: { vm, report: undefined, grants: [], bindings },
  }
}

function isOwnName({ vm, hostname }: BindingRecord, domain: string): boolean {
  return findNamesake(hostname, domain)?.vm === vm
}

/** A domain of a VM: its record, and what finds it. */
export interface Holding {
  readonly claim: StoredDocument
  /** As it is stored; undefined when it has come to be somebody else's. */
  readonly domain: StoredDocument | undefined
  /** Of certificates that were uploaded for it. */
  readonly uploads: readonly Edit[]
}

async function readHoldings(store: Pick<Store, 'get' | 'list'>, vm: string): Promise<readonly Holding[]> {
  const prefix = `${CLAIM_PREFIX}${vm}/`
  const holdings: Holding[] = []
  for (let after: string | undefined = ''; after !== undefined; ) {
    const page = await store.list(prefix, { after })
    for (const claim of page.documents) {
      const hostname = claim.key.slice(prefix.length)
      const domain = await store.get(DOMAINS.prefix + hostname)
      const isOwn = domain?.value.vm === vm
      const uploads = isOwn ? await findUploadDeletions(store, hostname) : []
      holdings.push({ claim, domain: isOwn ? domain : undefined, uploads })
    }
    after = page.next
  }
  return holdings
}

/** What belongs to a VM besides its parts, and goes with it. */
export interface Belongings {
  readonly holdings: readonly Holding[]
  readonly snapshots: readonly StoredDocument[]
  /** Written with the end of any of its domains: CNAMEs may still lead to its name. */
  readonly former: readonly Edit[]
  /** Written with the VM's end: what its host has to do about that, and the call that is pending, or that there is none. */
  readonly last: readonly Edit[]
}

export async function readBelongings(
  store: Pick<Store, 'get' | 'list'>,
  parts: VmParts,
  now: Date,
): Promise<Belongings> {
  const call = CALLS.prefix + parts.name
  const owner = { vm: parts.name, pool: parts.vm?.record.pool, now }
  const [holdings, snapshots, mark, pending, grave] = await Promise.all([
    readHoldings(store, parts.name),
    listAll(store, `${SNAPSHOTS.prefix}${parts.name}/`),
    planFormerOwner(store, owner),
    store.get(call),
    planGrave(store, { parts, now }),
  ])
  const noCall = {
    key: call,
    before: pending,
    after: undefined,
    ...(pending && { isDerived: true as const }),
  }
  const former = holdings.length > 0 || hasOtherNames(parts) ? [mark] : []
  return { holdings, snapshots, former, last: [...grave, noCall] }
}

/** Operators lead names to a VM without a domain's record, and those have CNAMEs as well. */
function hasOtherNames({ name, bindings }: VmParts): boolean {
  const hostnames = bindings.map(({ record }) => record.hostname)
  const own = hostnames.find((hostname) => hostname.startsWith(`${name}.`))
  return hostnames.some((hostname) => hostname !== own && !hostname.endsWith(`--${own}`))
}

async function listAll(store: Pick<Store, 'list'>, prefix: string): Promise<readonly StoredDocument[]> {
  const documents: StoredDocument[] = []
  for (let after: string | undefined = ''; after !== undefined; ) {
    const page = await store.list(prefix, { after })
    documents.push(...page.documents)
    after = page.next
  }
  return documents
}

export interface Deletion {
  readonly plan: VmPlan
  /** False while the VM has more than one commit deletes. */
  readonly isLast: boolean
}

/** Deletes as much as one commit can, rows first; the VM's record goes with the last of it. */
export function planDeletion(parts: VmParts, { holdings, snapshots, former, last }: Belongings): Deletion {
  const steps: readonly Step[] = [
    ...parts.bindings.map((stored) => ({ edits: [toDerived(toDeletion(stored))], writes: 2 })),
    ...holdings.map(({ claim, domain, uploads }) => ({
      edits: [...(domain ? [toRawDeletion(domain)] : []), toDerived(toRawDeletion(claim)), ...uploads],
      writes: 3 + uploads.length,
    })),
    ...parts.grants.map((stored) => ({ edits: [toDeletion(stored)], writes: 2 })),
    ...[...parts.broken.values()].map((document) => ({ edits: [toRawDeletion(document)], writes: 2 })),
    ...snapshots.map((document) => ({ edits: [toDerived(toRawDeletion(document))], writes: 1 })),
  ]
  const taken = takeSome(steps)
  const edits = [...taken.flatMap((step) => step.edits), ...former]
  const { vm, report } = parts
  if (taken.length === steps.length) {
    const own = [...(vm ? [toDeletion(vm)] : []), ...(report ? [toDerived(toDeletion(report))] : [])]
    const after = { vm: undefined, report: undefined, grants: [], bindings: [] }
    return { plan: { edits: [...own, ...edits, ...last], after }, isLast: true }
  }
  const gone = new Set(edits.map(({ key }) => key))
  const bindings = parts.bindings.filter(({ key }) => !gone.has(key))
  const grants = parts.grants.filter(({ key }) => !gone.has(key))
  return { plan: { edits, after: { vm, report, bindings, grants } }, isLast: false }
}

interface Step {
  readonly edits: readonly Edit[]
  /** With the rows and audit records that come with them. */
  readonly writes: number
}

function takeSome(steps: readonly Step[]): readonly Step[] {
  let writes = 0
  return steps.filter((step) => {
    writes += step.writes
    return writes <= MAX_DELETIONS
  })
}

/** The edits that make a VM's bindings what they shall be. */
export function bindingEdits(
  { bindings: before }: Pick<VmParts, 'bindings'>,
  after: readonly Stored<BindingRecord>[],
): readonly Edit[] {
  const wanted = new Map(after.map(({ key, record }) => [key, record]))
  const known = new Map(before.map((stored) => [stored.key, stored]))
  const keys = new Set([...known.keys(), ...wanted.keys()])
  return [...keys].map((key) => toEdit(key, { before: known.get(key), after: wanted.get(key) }))
}

export function toNewStored(record: BindingRecord): Stored<BindingRecord> {
  return { key: BINDINGS.keyOf(record), record: BINDINGS.parse(record), revision: 0 }
}

export function toDerived(edit: Edit): Edit {
  return { ...edit, isDerived: true }
}

export function toDeletion<Value extends object>(before: Stored<Value>): Edit {
  return toEdit(before.key, { before, after: undefined })
}

export function toRawDeletion(before: StoredDocument): Edit {
  return { key: before.key, before, after: undefined }
}
