/** Calls: what a VM is to do once. Edges write them for requests to a VM that is asleep, the API on request. */

import { randomBytes } from 'node:crypto'
import { commitPlanned, type Edit, toEdit } from '../records/edits.ts'
import { CALLS, findRecord, findSound, REPORTS, type Stored, VMS } from '../records/record-kinds.ts'
import type { CallRecord, CallWord } from '../records/vm-affairs.ts'
import type { Store } from '../store/store.ts'

type Tables = Pick<Store, 'get' | 'commit'>

export interface WantedCall {
  readonly vm: string
  readonly what: CallWord
  /** The system's clock unless given. */
  readonly now?: Date
}

/** The same call by many at once is one; after so long its host may have missed it, and is called again. */
const SAME_MS = 10_000
const ID_BYTES = 9

/**
 * Calls a VM, unless the same call is pending and younger than 10 seconds, and returns what is pending then. Undefined,
 * and nothing is written, where there is no such VM, or nothing to wake. A restart that is pending wakes as well.
 * @throws RoutingError `api_record_broken` for a VM or a report that cannot be read
 */
export async function putCall(store: Tables, wanted: WantedCall): Promise<CallRecord | undefined> {
  const { plan } = await commitPlanned(store, () => planCall(store, wanted))
  return plan.call
}

/** Deletes the call, if it is still that one. */
export async function clearCall(store: Tables, { vm, id }: Pick<CallRecord, 'vm' | 'id'>): Promise<void> {
  await commitPlanned(store, async () => {
    const document = await store.get(CALLS.prefix + vm)
    const isThat = document?.value.id === id
    return { edits: isThat ? [{ key: document.key, before: document, after: undefined }] : [] }
  })
}

export interface CallPlan {
  /** None where there is nothing to write. */
  readonly edits: readonly Edit[]
  readonly call: CallRecord | undefined
}

export async function planCall(store: Pick<Store, 'get'>, wanted: WantedCall): Promise<CallPlan> {
  const { vm: name, what, now = new Date() } = wanted
  const [vm, document] = await Promise.all([findRecord(store, VMS, name), store.get(CALLS.prefix + name)])
  const pending = document && findSound(CALLS, document)?.record
  if (vm === undefined) return { edits: [], call: undefined }
  if (pending && isEnough(pending, what, now)) return { edits: [], call: pending }
  if (what === 'wake' && !(await isAsleep(store, vm.record.state, name)))
    return { edits: [], call: undefined }
  const id = randomBytes(ID_BYTES).toString('base64url')
  const call = CALLS.parse({ vm: name, what, id, at: now.toISOString() })
  const edit = { key: CALLS.keyOf(call), before: document, after: { ...call } }
  return { edits: [edit, pinVm(vm)], call }
}

function isEnough({ what, at }: CallRecord, wanted: CallWord, now: Date): boolean {
  const isSame = what === wanted || (wanted === 'wake' && what === 'restart')
  return isSame && now.getTime() - Date.parse(at) < SAME_MS
}

async function isAsleep(store: Pick<Store, 'get'>, wanted: string, name: string): Promise<boolean> {
  return wanted === 'running' && (await findRecord(store, REPORTS, name))?.record.state === 'asleep'
}

/** A VM that is deleted meanwhile leaves no call behind. */
function pinVm<Value extends object>(vm: Stored<Value>): Edit {
  return toEdit(vm.key, { before: vm, after: vm.record })
}
