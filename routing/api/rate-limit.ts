/** How many requests one token may make: counted in each edge, over windows of ten seconds. */

import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { RoutingError } from '../errors.ts'
import type { ApiContext } from './context.ts'

/** A whole window's requests may come at once. */
const WINDOW_SECONDS = 10
const MS_PER_SECOND = 1_000
/** Tokens whose counts are kept; the longest unused goes first. About 200 bytes each. */
export const MAX_TOKENS = 10_000

/**
 * Has to be called after authentication was set. The count goes by token, never by address or connection, and open
 * pages have none.
 */
export async function setRateLimit(app: FastifyInstance, { ratePerSecond }: ApiContext): Promise<void> {
  await app.register(rateLimit, {
    global: false,
    max: ratePerSecond * WINDOW_SECONDS,
    timeWindow: WINDOW_SECONDS * MS_PER_SECOND,
    store: TokenCounts,
    keyGenerator: ({ caller }) => caller.id,
  })
  const count = app.createRateLimit()
  app.addHook('onRequest', async (request, reply) => {
    if (!request.routeOptions.config.isOpen) await checkRate(request, reply, count)
  })
}

/** @throws RoutingError `api_rate_limited` */
async function checkRate(
  request: FastifyRequest,
  reply: FastifyReply,
  count: ReturnType<FastifyInstance['createRateLimit']>,
): Promise<void> {
  const state = await count(request)
  if (state.isAllowed || !state.isExceeded) return
  reply.header('retry-after', state.ttlInSeconds)
  const detail = `The token may make ${state.max} requests in ${WINDOW_SECONDS} seconds.`
  throw new RoutingError('api_rate_limited', { detail })
}

interface Count {
  readonly current: number
  /** Unix milliseconds. */
  readonly endsAt: number
}

/**
 * The library's own store gives all requests of one turn the same object, which then says the last count to each: of a
 * burst above the limit it refuses every request, not those above it.
 */
export class TokenCounts {
  /** In the order of their last use. */
  readonly #counts = new Map<string, Count>()

  incr(
    token: string,
    done: (error: Error | null, result?: { current: number; ttl: number }) => void,
    windowMs = WINDOW_SECONDS * MS_PER_SECOND,
  ): void {
    const now = Date.now()
    const last = this.#counts.get(token)
    const isOver = last === undefined || last.endsAt <= now
    const next = isOver ? { current: 1, endsAt: now + windowMs } : { ...last, current: last.current + 1 }
    this.#counts.delete(token)
    this.#counts.set(token, next)
    const [oldest] = this.#counts.keys()
    if (this.#counts.size > MAX_TOKENS && oldest !== undefined) this.#counts.delete(oldest)
    done(null, { current: next.current, ttl: next.endsAt - now })
  }

  /** The library asks for another store where a route has settings of its own; none has. */
  child(): TokenCounts {
    return this
  }
}
