/** Idempotency-Key on POST (draft-ietf-httpapi-idempotency-key-header): the same request twice, one effect and one answer. */

import type { FastifyReply, FastifyRequest } from 'fastify'
import { Buckets } from '../../lib/buckets.ts'
import { digestOf } from '../../lib/digest.ts'
import { RoutingError } from '../errors.ts'
import type { Verb } from '../records/records.ts'
import { type AnswerClaim, openClaim } from './answer-claims.ts'
import { BOOTSTRAP_ID, type Caller, mayAnywhere } from './caller.ts'
import type { ApiContext } from './context.ts'

export interface Answer {
  readonly status: number
  readonly body: object
  readonly headers?: Readonly<Record<string, string>>
}

/** Printable ASCII. */
const KEY = /^[\x20-\x7e]{1,255}$/
/** Enough to tell the edges of a fleet apart, and of no use to whoever guesses. */
const NAME_CHARACTERS = 16
/** After these nobody knows whether the commit was carried out. */
const UNKNOWN: readonly string[] = ['store_unreachable', 'store_closed']

/** Answers are kept for a day: a caller may leave so many of them in an edge's day, and all at once. */
const KEYS_PER_DAY = 10_000
const SECONDS_PER_DAY = 86_400

export function createKeyBudget(): Buckets {
  return new Buckets({ capacity: KEYS_PER_DAY, perSecond: KEYS_PER_DAY / SECONDS_PER_DAY })
}

export interface Run {
  /** A caller that has it nowhere is refused by `make`, and leaves no trace in the store. */
  readonly verb: Verb
  readonly make: () => Promise<Answer>
}

/**
 * Makes at most once for each Idempotency-Key of a caller, on any edge, and gives the answer again for 24 hours. What
 * `make` throws is not kept, since it had no effect; where that cannot be known the key is used up. Without the header
 * it just makes.
 * @throws RoutingError `api_idempotency_mismatch`, `api_idempotency_busy`, `api_idempotency_unknown`,
 * `api_rate_limited`, `api_bootstrap_spent`, and what `make` throws
 */
export async function answerOnce(
  request: FastifyRequest,
  reply: FastifyReply,
  context: ApiContext,
  { verb, make }: Run,
): Promise<FastifyReply> {
  const { caller } = request
  const name = findKey(request)
  const isRefused = caller.isSpent !== true && !mayAnywhere(caller, verb)
  if (name === undefined || isRefused) return sendAnswer(reply, await make())
  const opened = await openClaim(context, {
    key: `idempotency/${ownerOf(request, context)}/${digestOf(name)}`,
    digest: digestOf(JSON.stringify([request.method, request.url, request.body ?? null])),
    check: () => checkMayClaim(context, caller),
  })
  if ('answer' in opened) return sendAnswer(reply.header('idempotency-replayed', 'true'), opened.answer)
  return sendAnswer(reply, await runClaimed(opened, make))
}

/** @throws RoutingError `api_bootstrap_spent`, `api_rate_limited` */
function checkMayClaim({ keyBudget }: ApiContext, { id, isSpent }: Caller): void {
  if (isSpent) throw new RoutingError('api_bootstrap_spent')
  if (keyBudget.take(id)) return
  const detail = `This token used ${KEYS_PER_DAY} Idempotency-Keys in a day; without the header it can go on.`
  throw new RoutingError('api_rate_limited', { detail })
}

async function runClaimed(opened: AnswerClaim, make: Run['make']): Promise<Answer> {
  await using claim = opened
  try {
    const answer = await make()
    await claim.keep(answer)
    return answer
  } catch (error) {
    const isUnknown = error instanceof RoutingError && UNKNOWN.includes(error.code)
    await (isUnknown ? claim.doubt() : claim.free())
    throw error
  }
}

function sendAnswer(reply: FastifyReply, { status, headers = {}, body }: Answer): FastifyReply {
  return reply.code(status).headers(headers).send(body)
}

/** @throws RoutingError `api_request_malformed` */
function findKey({ raw }: FastifyRequest): string | undefined {
  const fields = raw.headersDistinct['idempotency-key']
  if (fields === undefined) return undefined
  const [field = ''] = fields
  if (fields.length === 1 && KEY.test(field)) return field
  throw new RoutingError('api_request_malformed', {
    detail: 'Idempotency-Key must come once, with 1–255 printable ASCII characters.',
  })
}

/** Each edge of a fleet has a bootstrap token of its own, and all of them are called the same. */
function ownerOf({ caller }: FastifyRequest, { token }: ApiContext): string {
  return caller.id === BOOTSTRAP_ID
    ? `${BOOTSTRAP_ID}-${digestOf(token).slice(0, NAME_CHARACTERS)}`
    : caller.id
}
