/** The table of an order's states: carries one from the state it is in to its end, for as long as the hold of its name is held. */

import { setImmediate as turn } from 'node:timers/promises'
import type { Hold, Kept } from '../books.ts'
import type { Ca } from '../ca/ca.ts'
import { hostOf } from '../ca/ca-url.ts'
import type { KeyType, OrderRow, OrderState } from '../rows.ts'
import type { CaChoice } from './ca-choice.ts'
import { removeByUpdate, toGoneIds, withdraw } from './challenge-rows.ts'
import { stepFinalized, stepKeyed, stepReady } from './issue-steps.ts'
import { toResumedRow, toRowAfterFailure } from './order-failing.ts'
import type { FullOrdersSettings, OrdersDeps } from './order-settings.ts'
import {
  type NextResult,
  next,
  type RunMemory,
  type Step,
  type StepResult,
  type StepRun,
  toFreshRow,
} from './order-step.ts'
import { type Trouble, toTrouble } from './order-trouble.ts'
import { stepAnswered, stepConfirmed, stepOrdered, stepPublished } from './proof-steps.ts'
import { stepWanted } from './wanted-step.ts'

const STEPS: Readonly<Record<Exclude<OrderState, 'failed'>, Step>> = {
  wanted: stepWanted,
  ordered: stepOrdered,
  published: stepPublished,
  confirmed: stepConfirmed,
  answered: stepAnswered,
  ready: stepReady,
  keyed: stepKeyed,
  finalized: stepFinalized,
}

export interface Carrier {
  readonly deps: OrdersDeps
  readonly settings: FullOrdersSettings
  readonly choice: CaChoice
  /** Of the end of an order by this edge: the CA's host, and `issued` or a failure's code. */
  readonly count: (host: string, result: string) => void
}

/** Whether something is to be done for it now. */
export function isDue({ state, nextTryAt }: OrderRow, nowMs: number): boolean {
  return state !== 'failed' || Date.parse(nextTryAt ?? '') <= nowMs || nextTryAt === undefined
}

/**
 * Ends when the order has ended, waits for its next try, or belongs to another edge: every write carries the
 * order's revision. Resolves to whether there was anything to do; rejects when the store does not take what became of it.
 */
export async function carryOrder(
  carrier: Carrier,
  { name, keyType }: { readonly name: string; readonly keyType: KeyType },
  { hold, signal }: { readonly hold: Hold; readonly signal: AbortSignal },
): Promise<boolean> {
  const { deps, settings } = carrier
  const either = AbortSignal.any([hold.signal, signal])
  const memory: RunMemory = { added: [] }
  const first = await deps.books.orders.find(name, keyType)
  const isWork = first !== undefined && isDue(first.row, settings.now())
  let order = first
  while (order !== undefined && !either.aborted && isDue(order.row, settings.now())) {
    order = await advance(carrier, order, { memory, signal: either })
    // A turn between steps: without one, steps that need no answer would run on before an abort is heard.
    await turn()
  }
  if (!either.aborted && memory.added.length > 0) {
    // An upload takes the order away under its carrier, and the answers' rows with it.
    const kept = await deps.books.orders.find(name, keyType)
    if (kept === undefined) await removeByUpdate(memory.added, { deps, memory, signal: either })
  }
  return isWork
}

type Stage = Pick<StepRun, 'memory' | 'signal'>

/** One state further; undefined when there is nothing more to do here. */
async function advance(
  carrier: Carrier,
  order: Kept<OrderRow>,
  stage: Stage,
): Promise<Kept<OrderRow> | undefined> {
  const startedAt = performance.now()
  const row = toCarriedRow(order.row, carrier.deps.cas)
  let ca: Ca | undefined
  try {
    ca = carrier.choice.get(row)
    const run = { deps: carrier.deps, settings: carrier.settings, ca, ...stage }
    const result: StepResult =
      row.state === 'failed'
        ? next(toResumedRow(row, carrier.settings.now()))
        : await STEPS[row.state](row, run)
    stage.signal.throwIfAborted()
    return await settle(carrier, { order, result, run, startedAt })
  } catch (error) {
    if (stage.signal.aborted) return undefined
    return fail(carrier, order, { error, ca, stage })
  }
}

/** The settings may have lost the CA that has the order. */
function toCarriedRow(row: OrderRow, cas: readonly Ca[]): OrderRow {
  const isKnown = row.ca === undefined || cas.some(({ directory }) => directory === row.ca)
  return isKnown ? row : toFreshRow(row)
}

interface Settling {
  readonly order: Kept<OrderRow>
  readonly result: StepResult
  readonly run: StepRun
  readonly startedAt: number
}

async function settle(
  carrier: Carrier,
  { order, result, run, startedAt }: Settling,
): Promise<Kept<OrderRow> | undefined> {
  const { books, log } = carrier.deps
  const tell = (state: string): void => {
    const { name, keyType, cause } = order.row
    log.info(
      { name, keyType, cause, ca: hostOf(run.ca.directory), state, ms: elapsed(startedAt) },
      'certificate order',
    )
  }
  if (result.kind === 'next') {
    const kept = await save(order, result, run)
    if (kept !== undefined && result.row.state !== order.row.state) tell(result.row.state)
    return kept
  }
  if (result.kind === 'dropped') {
    await withdraw(order.row, undefined, run)
    if (await books.orders.delete(order)) tell(`dropped: ${result.why}`)
    return undefined
  }
  if ((await books.orders.complete(order, result)) === undefined) return undefined
  carrier.count(hostOf(run.ca.directory), 'issued')
  tell('issued')
  return undefined
}

/** With its new answers, and without those that it does not speak of any more. Undefined when another edge was first. */
async function save(
  order: Kept<OrderRow>,
  { row, answers = [] }: NextResult,
  run: Pick<StepRun, 'deps' | 'memory' | 'signal'>,
): Promise<Kept<OrderRow> | undefined> {
  await withdraw(order.row, row, run)
  const changes = { put: answers, remove: toGoneIds(order.row, row) }
  const revision = await run.deps.books.orders.put(row, order.revision, changes)
  return revision === undefined ? undefined : { row, revision }
}

/** `ca` is undefined when none may be asked. */
async function fail(
  carrier: Carrier,
  order: Kept<OrderRow>,
  { error, ca, stage }: { readonly error: unknown; readonly ca: Ca | undefined; readonly stage: Stage },
): Promise<Kept<OrderRow> | undefined> {
  const { choice, deps, settings } = carrier
  const trouble = toTrouble(error, settings.now())
  if (ca !== undefined) choice.note(ca, order.row, trouble)
  const failing = { trouble, directory: ca?.directory, hasNext: choice.hasNext }
  const row = toRowAfterFailure(order.row, failing, settings)
  forget(stage.memory)
  const kept = await save(order, next(row), { deps, ...stage })
  // What no row says has not failed: another edge was first, and carries it on.
  if (kept === undefined) return undefined
  const host = ca && hostOf(ca.directory)
  tellFailure(deps, row, { error, trouble, host })
  carrier.count(host ?? 'none', trouble.code)
  return kept
}

interface Told {
  readonly error: unknown
  readonly trouble: Trouble
  /** Of the CA that was asked. */
  readonly host: string | undefined
}

function tellFailure({ log }: OrdersDeps, row: OrderRow, { error, trouble, host }: Told): void {
  const { code, detail } = trouble
  const { name, keyType, cause, state, nextTryAt, lastError } = row
  const fields = {
    ...{ name, keyType, cause, state, code, detail, nextTryAt },
    ca: host,
    step: lastError?.step,
    ...(code === 'certificate_failed' && { err: error }),
  }
  log.warn(
    fields,
    state === 'failed' ? 'certificate order failed' : 'certificate order goes to another authority',
  )
}

/** The next CA is another story. */
function forget(memory: RunMemory): void {
  delete memory.types
  delete memory.isReplacesRefused
  delete memory.isRestarted
  delete memory.republished
}

function elapsed(startedAt: number): number {
  return Math.round(performance.now() - startedAt)
}
