/** `/v1/vms/{vm}/restart`, `/suspend` and `/wake`: what a VM is to do once. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { RoutingError } from '../errors.ts'
import { commitPlanned } from '../records/edits.ts'
import { CALLS, findRecord, REPORTS, type Stored, VMS } from '../records/record-kinds.ts'
import type { VmRecord } from '../records/records.ts'
import { LABEL } from '../records/schema.ts'
import { CALL_WORDS, type CallRecord, type CallWord } from '../records/vm-affairs.ts'
import { planCall } from '../vms/vm-calls.ts'
import { auditsOf, logChange } from './changes.ts'
import type { ApiContext } from './context.ts'
import { type Answer, answerOnce } from './idempotency.ts'
import { refuseOtherMethods } from './problems.ts'
import { withProblems } from './schemas.ts'
import { findSound, VM_VIEW, viewVm } from './vm-view.ts'
import { waitForCall, waitForVm } from './vm-wait.ts'
import { getAllowed } from './vm-writes.ts'
import { answerAnyway, inPlace, signalOf, WAIT_QUERY, type Waiting } from './waiting.ts'

const PARAMS = Type.Object({ vm: LABEL })
const SUMMARIES: Readonly<Record<CallWord, string>> = {
  restart: 'Shuts a VM down and starts it again; one that is asleep loses its memory',
  suspend: 'Writes the memory of a running VM to disk; the next request wakes it',
  wake: 'Lets a VM that is asleep go on where it was; nothing happens to one that runs',
}
const WAITS = 'With "wait" the answer comes when its host has done so, or is 504.'

type PostCall = Waiting & { Params: Static<typeof PARAMS> }

export function addCalls(app: FastifyInstance, context: ApiContext): void {
  for (const what of CALL_WORDS) {
    const item = `/v1/vms/:vm/${what}`
    app.post<PostCall>(
      item,
      {
        schema: withProblems({
          summary: SUMMARIES[what],
          description: WAITS,
          params: PARAMS,
          querystring: WAIT_QUERY,
          response: { 200: VM_VIEW, 202: VM_VIEW },
        }),
      },
      (request, reply) =>
        answerOnce(request, reply, context, {
          verb: 'write',
          make: () => inPlace(request, context, () => callVm(request, reply, { context, what })),
        }),
    )
    refuseOtherMethods(app, item, ['POST'])
  }
}

/** What was written; without a call there was nothing to do. */
interface Called {
  readonly vm: Stored<VmRecord>
  readonly call: CallRecord | undefined
}

async function callVm(
  request: FastifyRequest<PostCall>,
  reply: FastifyReply,
  { context, what }: { readonly context: ApiContext; readonly what: CallWord },
): Promise<Answer> {
  const { wait: seconds } = request.query
  const { vm, call } = await writeCall(request, context, what)
  return answerAnyway(request, async () => {
    if (seconds !== undefined) {
      const wait = { vm, seconds, signal: signalOf(reply) }
      if (call) await waitForCall(context, { ...wait, call })
      if (what !== 'suspend') await waitForVm(context, wait)
    }
    const isBegun = call !== undefined && seconds === undefined
    const stored = (await findRecord(context.store, VMS, vm.record.name)) ?? vm
    return { status: isBegun ? 202 : 200, body: await viewVm(context, stored) }
  })
}

async function writeCall(
  request: FastifyRequest<PostCall>,
  context: ApiContext,
  what: CallWord,
): Promise<Called> {
  const { vm: name } = request.params
  const { plan, revisions } = await commitPlanned(
    context.store,
    async () => {
      const found = { name, vm: await findRecord(context.store, VMS, name) }
      const vm = getAllowed(request.caller, 'write', found)
      const isNeeded = await checkCallable(context, vm, what)
      const { edits, call } = isNeeded
        ? await planCall(context.store, { vm: name, what, now: context.now() })
        : { edits: [], call: undefined }
      return { edits, call, vm }
    },
    ({ edits, vm }) => auditsOf(request, context, { edits, pool: vm.record.pool }),
  )
  const key = CALLS.prefix + name
  const revision = revisions.get(key)
  if (revision !== undefined) logChange(request, context, { key, revision })
  // What was reported before the call says nothing of it.
  return { vm: { ...plan.vm, revision: revision ?? plan.vm.revision }, call: plan.call }
}

/** False when it is so already. @throws RoutingError `api_vm_not_running` */
async function checkCallable(
  { store }: ApiContext,
  { record: { name, state } }: Stored<VmRecord>,
  what: CallWord,
): Promise<boolean> {
  if (state === 'stopped') throw notRunning(`"${name}" is stopped: there is nothing to ${what}.`)
  if (what !== 'suspend') return true
  const report = await findSound(store, REPORTS, name)
  if (report === undefined) throw notRunning(`No host has reported "${name}" yet.`)
  if (report.record.state === 'running') return true
  if (report.record.state === 'asleep') return false
  throw notRunning(`Its host "${report.record.host}" reports that "${name}" is ${report.record.state}.`)
}

function notRunning(detail: string): RoutingError {
  return new RoutingError('api_vm_not_running', { detail })
}
