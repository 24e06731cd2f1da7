/** `?wait`: how many requests may wait, for how long, and what becomes of an answer that does not come in time. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { problemOf } from '../../lib/problem.ts'
import { RoutingError } from '../errors.ts'
import { REPORTS } from '../records/record-kinds.ts'
import type { Store } from '../store/store.ts'
import type { ApiContext } from './context.ts'
import type { Answer } from './idempotency.ts'
import { Places } from './places.ts'
import { PROBLEM_TYPE } from './problems.ts'
import { strict } from './schemas.ts'

const MAX_WAIT_SECONDS = 120
/** Below the 120 seconds that the edge by default waits for an answer to begin. */
const MAX_WAIT_MS = 115_000
/** The edge's own table is a few milliseconds behind the store, and has no bell. */
const TABLE_POLL_MS = 10
/** It may also hold on to what it has until an operator says more. */
const MAX_TABLE_POLL_MS = 500

export const WAIT_QUERY = strict({
  wait: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: MAX_WAIT_SECONDS,
      description: `a whole number of seconds from 0 to ${MAX_WAIT_SECONDS}`,
    }),
  ),
})

export type Waiting = { Querystring: Static<typeof WAIT_QUERY> }

/** Each wait follows the store, and reads from it at each change of what it waits for. */
export function createWaits(): Places {
  return new Places({ perEdge: 400, perTenant: 100, what: 'requests with "wait" under way' })
}

/** Takes a place where the request wants to wait, before anything is written. @throws RoutingError `api_rate_limited` */
export async function inPlace<Result>(
  { caller, query }: FastifyRequest<Waiting>,
  { waits }: Pick<ApiContext, 'waits'>,
  work: () => Promise<Result>,
): Promise<Result> {
  const leave = query.wait === undefined ? undefined : waits.enter(caller)
  try {
    return await work()
  } finally {
    leave?.()
  }
}

/** Aborts when the client goes away: Fastify's own signal aborts as soon as the request's body has been read. */
export function signalOf({ raw }: FastifyReply): AbortSignal {
  const isGone = new AbortController()
  raw.once('close', () => isGone.abort())
  if (raw.closed || raw.destroyed) isGone.abort()
  return isGone.signal
}

/** Not in time, or deleted by another meanwhile. */
const UNFULFILLED = ['api_vm_not_ready', 'api_snapshot_not_ready', 'api_not_found']

/**
 * For what comes after a write: it has had its effect, and whatever the answer is, it is kept for the Idempotency-Key,
 * so that a retry does nothing again.
 */
export async function answerAnyway(
  { id }: Pick<FastifyRequest, 'id'>,
  work: () => Promise<Answer>,
): Promise<Answer> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof RoutingError) || !UNFULFILLED.includes(error.code)) throw error
    const headers = { 'content-type': PROBLEM_TYPE }
    return { status: error.fault.status, headers, body: problemOf(error, id) }
  }
}

/** `behind`: the store has it, and this edge is about to. */
export type Verdict = 'done' | 'behind' | 'waiting'

export interface Wait {
  /** Documents after whose change `judge` is asked again. */
  readonly keys: readonly string[]
  readonly seconds: number
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal
  /** Throws when it will never come true. */
  readonly judge: () => Promise<Verdict>
}

/** False when time ran out, or the client went away. @throws what `judge` throws */
export async function comesTrue({ store }: Pick<ApiContext, 'store'>, wait: Wait): Promise<boolean> {
  const timeout = new AbortController()
  const timer = setTimeout(() => timeout.abort(), Math.min(wait.seconds * 1_000, MAX_WAIT_MS))
  const isOver = AbortSignal.any([wait.signal, timeout.signal])
  try {
    for await (const _change of changesOf(store, wait.keys, isOver)) {
      if ((await judgeInTime(wait, isOver)) === 'done') return true
    }
    return false
  } finally {
    clearTimeout(timer)
  }
}

async function judgeInTime({ judge }: Wait, isOver: AbortSignal): Promise<Verdict> {
  let verdict = await judge()
  for (let pollMs = TABLE_POLL_MS; verdict === 'behind' && !isOver.aborted; pollMs *= 2) {
    await sleep(Math.min(pollMs, MAX_TABLE_POLL_MS), undefined, { signal: isOver }).catch(() => {})
    verdict = await judge()
  }
  return verdict
}

/** Yields at once, and then at each change of one of the documents, until the signal aborts. */
async function* changesOf(
  store: Pick<Store, 'list' | 'watch'>,
  keys: readonly string[],
  signal: AbortSignal,
): AsyncIterable<void> {
  do {
    const { revision, mark } = await store.list(REPORTS.prefix, { limit: 1 })
    yield
    for await (const event of store.watch(revision, signal, mark)) {
      if (event.kind === 'resync') break
      if (event.changes.some(({ key }) => keys.includes(key))) yield
    }
  } while (!signal.aborted)
}
