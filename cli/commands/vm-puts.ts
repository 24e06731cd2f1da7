/** Changes of one VM that are over when its host has carried them out. */

import { type Json, path } from '../api.ts'
import type { CommandContext } from '../command.ts'
import { ApiRefusal, CliError } from '../errors.ts'
import { pause } from '../pause.ts'
import { Progress } from '../progress.ts'
import { textOf } from '../views.ts'

export interface VmBody {
  readonly pool?: string
  readonly image?: string
  readonly port?: number
  readonly ports?: Readonly<Record<string, { readonly visibility: string }>>
  readonly comment?: string
  readonly state?: 'running' | 'stopped'
  readonly source?: VmSource
}

/** What a new VM is to be a copy of: another one as it is, or one of its snapshots. */
export interface VmSource {
  readonly vm: string
  readonly snapshot?: string
}

export interface VmWrite {
  readonly name: string
  readonly body: VmBody
  /** Absent: returns as soon as it is written. */
  readonly timeoutMs?: number
}

interface VmPut extends VmWrite {
  readonly isNew?: true
  readonly revision?: number
}

const MAX_ATTEMPTS = 3
const POLL_MS = 1_000
const MIN_WAIT_MS = 1_000
/** Half of what the API allows: an edge cuts requests that are silent for two minutes. */
const MAX_WAIT_SECONDS = 60
/** For the answer, after the time that the API was told to wait. */
const ANSWER_MS = 30_000

/** @throws ApiRefusal, also when it exists; CliError `cli_vm_failed` */
export function createVm(context: CommandContext, write: VmWrite): Promise<Json> {
  return putVm(context, { ...write, isNew: true })
}

/** Others may change the VM meanwhile: then it is read again. @throws ApiRefusal, CliError `cli_vm_failed` */
export async function changeVm(context: CommandContext, write: VmWrite): Promise<Json> {
  for (let attempt = 1; ; attempt += 1) {
    const { revision } = await getVm(context, write.name)
    try {
      return await putVm(context, { ...write, revision: Number(revision) })
    } catch (error) {
      const isOvertaken = error instanceof ApiRefusal && error.fault.status === 412
      if (!isOvertaken || attempt === MAX_ATTEMPTS) throw error
    }
  }
}

export interface VmCall {
  readonly name: string
  readonly what: 'restart' | 'suspend' | 'wake'
  readonly timeoutMs: number
}

/** Lets the VM do something once, and returns it when its host has done so. @throws ApiRefusal, CliError `cli_vm_failed` */
export async function callVm(context: CommandContext, { name, what, timeoutMs }: VmCall): Promise<Json> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const leftMs = deadline - performance.now()
    try {
      const address = path`/v1/vms/${name}/${what}`
      return await context.api.call({ method: 'POST', path: address, ...waitingFor(leftMs) })
    } catch (error) {
      await getUnready(context, name, error)
      // Once more would be one restart more.
      if (what === 'restart' || deadline - performance.now() < MIN_WAIT_MS) throw error
    }
  }
}

/** `?wait=…`, and a time limit for the request that leaves room for it. */
export function waitingFor(timeoutMs: number) {
  const wait = Math.max(0, Math.min(MAX_WAIT_SECONDS, Math.floor(timeoutMs / 1_000)))
  return { query: { wait }, timeoutMs: wait * 1_000 + ANSWER_MS }
}

/** Says what the host reports while the API waits for it. */
async function putVm(context: CommandContext, put: VmPut): Promise<Json> {
  if (put.timeoutMs === undefined) return sendVm(context, put)
  // Nothing is being made while there is no API to ask for it.
  await context.getConnection()
  using progress = new Progress(context.output)
  progress.say(`${put.name}: ${put.isNew ? 'making' : 'changing'} the VM`)
  const done = new AbortController()
  const watching = showPhases(context, { name: put.name, progress, signal: done.signal })
  try {
    return await waitForVm(context, { ...put, timeoutMs: put.timeoutMs })
  } finally {
    done.abort()
    await watching
  }
}

/** One request waits a minute at most; a change of nothing waits on. */
async function waitForVm(
  context: CommandContext,
  put: VmPut & { readonly timeoutMs: number },
): Promise<Json> {
  const deadline = performance.now() + put.timeoutMs
  for (let next: VmPut = put; ; ) {
    const leftMs = deadline - performance.now()
    try {
      return await sendVm(context, { ...next, timeoutMs: leftMs })
    } catch (error) {
      const view = await getUnready(context, put.name, error)
      if (deadline - performance.now() < MIN_WAIT_MS) throw error
      next = { name: put.name, body: {}, revision: Number(view.revision) }
    }
  }
}

/** The VM as it is, when that is only not ready yet. @throws CliError `cli_vm_failed`, or `error` itself */
async function getUnready(context: CommandContext, name: string, error: unknown): Promise<Json> {
  if (!(error instanceof ApiRefusal && error.code === 'api_vm_not_ready')) throw error
  const view = await getVm(context, name)
  if (textOf(view, 'report.state') === 'failed') throw vmFailed(view, error)
  return view
}

function sendVm({ api }: CommandContext, { name, body, timeoutMs, isNew, revision }: VmPut): Promise<Json> {
  return api.call({
    method: 'PUT',
    path: path`/v1/vms/${name}`,
    body,
    ...(timeoutMs !== undefined && waitingFor(timeoutMs)),
    ...(isNew && { isNew }),
    ...(revision !== undefined && { revision }),
  })
}

interface Watched {
  readonly name: string
  readonly progress: Progress
  readonly signal: AbortSignal
}

async function showPhases(context: CommandContext, { name, progress, signal }: Watched): Promise<void> {
  const isOver = AbortSignal.any([signal, context.signal])
  while (!isOver.aborted) {
    await pause(POLL_MS, isOver).catch(() => {})
    if (isOver.aborted) return
    // It may not be there yet, and what is really wrong is told by the call that changes it.
    const view = await getVm(context, name).catch(() => undefined)
    if (view !== undefined && !isOver.aborted) progress.say(phaseOf(view))
  }
}

function getVm({ api }: CommandContext, name: string): Promise<Json> {
  return api.call({ method: 'GET', path: path`/v1/vms/${name}` })
}

/** `web: starting on host local`. */
function phaseOf(view: Json): string {
  const host = textOf(view, 'report.host')
  return `${textOf(view, 'name')}: ${stateOf(view)}${host === '' ? ', no host has reported yet' : ` on host ${host}`}`
}

/** What its host says, and what is on the way where something else is wanted. */
export function stateOf(view: Json): string {
  const [wanted, reported] = [textOf(view, 'state'), textOf(view, 'report.state')]
  if (reported === wanted || reported === 'failed') return reported
  if (reported === 'asleep' && wanted === 'running') return reported
  if (wanted === 'stopped') return reported === '' ? 'stopped' : 'stopping'
  return 'starting'
}

function vmFailed(view: Json, cause: Error): CliError {
  const [name, message] = [textOf(view, 'name'), textOf(view, 'report.message')]
  const detail = `${name}: ${message === '' ? 'its host does not say why' : message}`
  const next = `Correct that, then run "landfall vm start ${name}", or "landfall vm delete ${name}".`
  return new CliError('cli_vm_failed', { cause, detail, next })
}
